"""Which class is taken for which."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from detector.evaluation.matches import Matches, by_image, pairwise_iou


def confusion(matches: Matches, thresholds: Float[np.ndarray, "C"]) -> Int64[np.ndarray, "C1 C1"]:
    """Objects by their class (rows) and the class of the box that shows them (columns); the last of each is background.

    Boxes of at least their class's threshold, by descending score, take the free object, of whichever class, that they
    overlap most, from an IoU of .5 on. Boxes that take none are in the last row, objects taken by none in the last
    column. Boxes on objects that do not count are left out.
    """
    classes = len(thresholds)
    matrix = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    sure = np.flatnonzero((matches.scores >= thresholds[matches.labels]) & ~matches.ignored[:, 0])
    for detections, objects in by_image(matches.images[sure], matches.object_images, len(matches.image_ids)):
        mine = sure[detections]
        mine = mine[np.argsort(-matches.scores[mine], kind="stable")]
        labels = matches.object_labels[objects]
        iou = pairwise_iou(matches.boxes[mine], matches.object_boxes[objects])
        free = np.ones(len(objects), dtype=bool)
        for row, label in zip(iou, matches.labels[mine]):
            best = int(np.where(free, row, 0.0).argmax()) if free.any() else -1
            if best >= 0 and row[best] >= 0.5:
                free[best] = False
                matrix[labels[best], label] += 1
            else:
                matrix[classes, label] += 1
        np.add.at(matrix, (labels[free], np.full(free.sum(), classes)), 1)
    return matrix
