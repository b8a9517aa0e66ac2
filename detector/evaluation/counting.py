"""How well objects are counted."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from detector.evaluation.matches import Matches


def counting(matches: Matches, class_names: list[str], thresholds: Float[np.ndarray, "C"]) -> list[dict]:
    """The number of boxes of at least a class's threshold against the number of objects, image by image.

    Returns:
        A row a class: `objects` and `boxes` an image, `mean absolute error`, `bias` (boxes less objects, the mean) and
        `exact`, the share of images where both are equal. Boxes on objects that do not count are left out.
    """
    images, rows = len(matches.image_ids), []
    sure = (matches.scores >= thresholds[matches.labels]) & ~matches.ignored[:, 0]
    for label, name in enumerate(class_names):
        objects = np.bincount(matches.object_images[matches.object_labels == label], minlength=images)
        predicted = np.bincount(matches.images[sure & (matches.labels == label)], minlength=images)
        off = predicted - objects
        rows.append({
            "class": name, "threshold": float(thresholds[label]), "objects": _mean(objects), "boxes": _mean(predicted),
            "mean absolute error": _mean(abs(off)), "bias": _mean(off), "exact": _mean(off == 0),
        })
    return rows


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
