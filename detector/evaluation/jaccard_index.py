"""The Jaccard index of detections and objects, by which sets of boxes in crowds are compared."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from detector.evaluation.matches import Matches, by_image, pairwise_iou

SCORES = np.arange(20) / 20
"""From which on boxes count: CrowdHuman's 0, .1, … .9, and those halfway between."""


def jaccard_index(matches: Matches) -> float:
    """JI at IoU .5 (CrowdHuman; Chu et al. 2020, section 4): 0 … 1, that of the best score from which on boxes count.

    In each image, as many pairs as can be made of a detection and an object of a class with an IoU of at least .5; JI
    is their number over that of all detections and objects, a pair counted once. Class by class, the mean over images
    that have either, at the score where it is largest; then the mean over classes that have objects, nan where none
    has.

    As in the code of CrowdHuman's authors, detections on ignored objects may be paired, and are left out where they are
    not; here these are the ones that matched an ignored object by COCO's rules. Unlike there, the number of pairs is
    largest and not the sum of their IoUs, and an object that lies on an ignored one counts as any other.
    """
    classes = 1 + int(np.append(matches.labels, matches.object_labels).max(initial=0))
    groups = matches.images * classes + matches.labels
    object_groups = matches.object_images * classes + matches.object_labels
    size, counts = len(matches.image_ids) * classes, ~matches.ignored[:, 0]
    objects = np.bincount(object_groups, minlength=size)
    pairs = _pairs(matches)

    def paired(use: Bool[np.ndarray, "D"]) -> Int64[np.ndarray, "_"]:
        """How many of some detections are, in each image and class; none of them disturbs another group's."""
        row, column = pairs[:, use[pairs[0]]]
        graph = csr_array((np.ones(len(row), bool), (row, column)), shape=(len(use), len(object_groups)))
        return np.bincount(object_groups[maximum_bipartite_matching(graph, perm_type="row") >= 0], minlength=size)

    means: list[Float[np.ndarray, "C"]] = []
    for score in SCORES:
        sure = matches.scores >= score
        every, counted = paired(sure), paired(sure & counts)  # ignored ones are paired only where that makes more pairs
        union = np.bincount(groups[sure & counts], minlength=size) + objects - counted
        index = (every / np.maximum(union, 1)).reshape(-1, classes).sum(0)
        means.append(index / np.maximum((union > 0).reshape(-1, classes).sum(0), 1))
    there = np.unique(matches.object_labels)
    return float(np.max(means, 0)[there].mean()) if len(there) else float("nan")


def _pairs(matches: Matches) -> Int64[np.ndarray, "2 P"]:
    """Detections and objects of an image and class with an IoU of at least .5."""
    found = [np.zeros((2, 0), np.int64)]
    for detections, objects in by_image(matches.images, matches.object_images, len(matches.image_ids)):
        near = pairwise_iou(matches.boxes[detections], matches.object_boxes[objects]) >= 0.5
        row, column = np.nonzero(near & (matches.labels[detections][:, None] == matches.object_labels[objects][None]))
        found.append(np.stack([detections[row], objects[column]]))
    return np.concatenate(found, 1)
