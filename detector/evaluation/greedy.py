"""COCO's matching of detections and objects, for many images at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

THRESHOLDS = np.linspace(0.5, 0.95, 10)
AT_ONCE = 2_000_000
"""Overlaps held in memory together."""


def match(
    groups: Int64[np.ndarray, "D"], scores: Float[np.ndarray, "D"], boxes: Float[np.ndarray, "D 4"],
    object_groups: Int64[np.ndarray, "G"], object_boxes: Float[np.ndarray, "G 4"], ignored: Bool[np.ndarray, "G"],
    crowd: Bool[np.ndarray, "G"], thresholds: Float[np.ndarray, "T"] = THRESHOLDS,
) -> Int64[np.ndarray, "D T"]:
    """The object that each detection matches at each IoU threshold, or -1: what pycocotools finds, all groups in step.

    In every group the detections choose in the order of their scores, each the object it overlaps most among those that
    count and are free; where it reaches none of these, one that is ignored. A crowd can be chosen many times, and what
    counts for it is the share of the detection that it covers.

    Args:
        groups, object_groups: which image and class, as one number; only those of equal number can match.
        boxes, object_boxes: `xyxy`.
    """
    matched = np.full((len(groups), len(thresholds)), -1)
    by_score = np.lexsort((-scores, groups))  # stable: equal scores stay in order
    by_group = np.argsort(object_groups, kind="stable")
    shared = np.intersect1d(groups, object_groups)
    first, last = (np.searchsorted(groups[by_score], shared, side) for side in ("left", "right"))
    first_object, last_object = (np.searchsorted(object_groups[by_group], shared, side) for side in ("left", "right"))
    widths = last_object - first_object
    at = np.argsort(widths, kind="stable")  # groups of like size together, so that little is padded
    while len(at):
        lengths = (last - first)[at]
        cells = np.maximum.accumulate(lengths) * widths[at] * np.arange(1, len(at) + 1)
        part = at[: max(1, np.searchsorted(cells, AT_ONCE))]
        at = at[len(part):]
        rows, there = _padded(first[part], last[part])
        columns, real = _padded(first_object[part], last_object[part])
        rows, columns = by_score[rows], by_group[columns]
        overlap = _overlap(boxes[rows], object_boxes[columns], crowd[columns])
        free = np.repeat(real[None], len(thresholds), 0)
        for rank in range(rows.shape[1]):
            reached = free & (overlap[None, :, rank] >= np.minimum(thresholds, 1 - 1e-10)[:, None, None])
            counting = reached & ~ignored[columns]
            reached = np.where(counting.any(-1, keepdims=True), counting, reached)
            # the last of equals, as pycocotools
            best = columns.shape[1] - 1 - np.where(reached, overlap[None, :, rank], -1.0)[..., ::-1].argmax(-1)
            t, g = np.nonzero(reached.any(-1) & there[:, rank])
            chosen = columns[g, best[t, g]]
            matched[rows[g, rank], t] = chosen
            free[t, g, best[t, g]] = crowd[chosen]
    return matched


def _padded(first: Int64[np.ndarray, "R"], last: Int64[np.ndarray, "R"]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers from `first` to before `last`, a row each, and which of them are real."""
    numbers = first[:, None] + np.arange((last - first).max())
    real = numbers < last[:, None]
    return np.where(real, numbers, first[:, None]), real


def _overlap(
    boxes: Float[np.ndarray, "R D 4"], objects: Float[np.ndarray, "R G 4"], crowd: Bool[np.ndarray, "R G"]
) -> Float[np.ndarray, "R D G"]:
    sides = np.minimum(boxes[:, :, None, 2:], objects[:, None, :, 2:]) - np.maximum(
        boxes[:, :, None, :2], objects[:, None, :, :2])
    common = sides.clip(0).prod(-1)
    own = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[..., None]
    theirs = (objects[..., 2:] - objects[..., :2]).prod(-1)[:, None]
    return common / np.maximum(np.where(crowd[:, None], own, own + theirs - common), 1e-9)
