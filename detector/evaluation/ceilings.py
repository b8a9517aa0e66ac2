"""What could be reached at best, told by the ground truth: by suppression, and by whoever corrects a list of boxes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment

from detector.evaluation.matches import pairwise_iou

FOUND = 0.5
"""The IoU from which on a box finds an object."""


def without_errors(
    boxes: Float[np.ndarray, "K 4"], scores: Float[np.ndarray, "K"], labels: Int64[np.ndarray, "K"],
    kept: Int64[np.ndarray, "_"], object_boxes: Float[np.ndarray, "N 4"], object_labels: Int64[np.ndarray, "N"],
) -> Int64[np.ndarray, "_"]:
    """Suppression in an image with its errors undone: the positions of the boxes that should have been left.

    By descending score, each kept box finds the object of its class that it overlaps most among those not found yet.
    One that overlaps objects enough, but none that is left, is a duplicate and goes; one that overlaps none enough is
    no matter of suppression and stays. Then the suppressed boxes do the same, and those that find an object come back:
    for each object the one of the highest score. Boxes and scores stay as they are, so that this is a ceiling of the
    choice alone, at IoU .5: above it, a neighbour of lower score might fit better than a box that came back.

    Args:
        boxes, scores, labels: all that suppression was given.
        kept: positions of those that it kept.
        object_boxes, object_labels: the objects that count, on the same scale.
    """
    iou = pairwise_iou(boxes, object_boxes) * (labels[:, None] == object_labels[None])
    iou[iou < FOUND] = 0
    is_kept = np.isin(np.arange(len(boxes)), kept)
    free, left = np.ones(len(object_boxes), dtype=bool), []
    order = np.lexsort((-scores, ~is_kept))  # kept ones before the others
    for one in order[is_kept[order] | iou[order].any(1)]:
        overlap = iou[one] * free
        if overlap.any():
            free[overlap.argmax()] = False
        if overlap.any() or not iou[one].any():
            left.append(one)
    return np.array(left, dtype=np.int64)


def best_slots(
    boxes: Float[np.ndarray, "Q 4"], object_boxes: Float[np.ndarray, "N 4"]
) -> tuple[Int64[np.ndarray, "M"], Int64[np.ndarray, "M"], Float[np.ndarray, "M"]]:
    """Slots and objects in pairs, each at most once, so that their IoUs have the largest sum; and those IoUs.

    Were each of these slots scored by its IoU as the class of its object, and the others as background, this were the
    best that choosing from the list, without correcting its boxes, can do.
    """
    iou = pairwise_iou(boxes, object_boxes)
    slots, objects = linear_sum_assignment(-iou)
    touch = iou[slots, objects] > 0
    return slots[touch], objects[touch], iou[slots, objects][touch]
