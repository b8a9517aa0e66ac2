"""Average precision as the Pascal VOC development kit defines it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from detector.evaluation.coco_map import BEYOND_EVERY_AREA, CocoMAP
from detector.evaluation.matches import corners, pairwise_iou


def voc_ap(metric: CocoMAP) -> list[dict]:
    """AP at IoU .5 a class, by both rules of Pascal VOC (Everingham et al. 2015, section 4.2).

    Unlike COCO's matching, a detection takes the object of its class that it overlaps most, difficult ones included: if
    that one is difficult it does not count, if one of higher score has it already it is a false positive, even where
    another object is free.

    Args:
        metric: holds the detections and the ground truth; objects that COCO ignores are the difficult ones.

    Returns:
        A row a class: `class`, `objects`, `AP 2007` (the mean of precision at eleven recalls), `AP 2010` (the area
        under the precision envelope); nan without objects.
    """
    ground_truth: dict[int, dict[int, list]] = {category: {} for category in metric.category_ids}
    for one in metric.ground_truth["annotations"]:
        if one["image_id"] in metric.rows:
            ground_truth[one["category_id"]].setdefault(one["image_id"], []).append(one)
    rows = metric.all_rows()
    rows = rows[np.argsort(-rows[:, 5], kind="stable")]
    made = []
    for category, name in zip(metric.category_ids, metric.class_names):
        mine = rows[rows[:, 6] == category]
        true_positive, counts = np.zeros(len(mine), dtype=bool), np.ones(len(mine), dtype=bool)
        by_image = np.argsort(mine[:, 0], kind="stable")
        images = mine[by_image, 0]
        objects = 0
        for image, those in ground_truth[category].items():
            difficult = np.array([bool(a["iscrowd"]) or a["area"] >= BEYOND_EVERY_AREA for a in those])
            objects += int((~difficult).sum())
            here = by_image[np.searchsorted(images, image) : np.searchsorted(images, image, "right")]
            iou = pairwise_iou(corners(mine[here, 1:5]), corners(np.array([a["bbox"] for a in those], dtype=float)))
            taken = np.zeros(len(those), dtype=bool)
            for place, best, most in zip(here, iou.argmax(1), iou.max(1)):
                if most < 0.5:
                    continue
                if difficult[best]:
                    counts[place] = False
                elif not taken[best]:
                    true_positive[place] = taken[best] = True
        made.append({"class": name, "objects": objects, **_areas(true_positive[counts], objects)})
    return made


def _areas(true_positive: Bool[np.ndarray, "N"], objects: int) -> dict[str, float]:
    """Both areas under the curve of detections by descending score."""
    if not objects:
        return {"AP 2007": float("nan"), "AP 2010": float("nan")}
    hits = np.cumsum(true_positive)
    recall, precision = hits / objects, hits / np.arange(1, len(true_positive) + 1)
    eleven: list[Float[np.ndarray, ""]] = [
        precision[recall >= level - 1e-12].max(initial=0.0) for level in np.linspace(0, 1, 11)
    ]
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return {
        "AP 2007": float(np.mean(eleven)), "AP 2010": float((np.diff(recall, prepend=0.0) * envelope).sum()),
    }
