"""How crowding hurts: by overlap, by number of objects, by size; duplicates; and what is reported of crowds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

from detector.evaluation.jaccard_index import jaccard_index
from detector.evaluation.matches import Matches, by_image, keep, pairwise_iou
from detector.evaluation.miss_rate import miss_rate

OVERLAPS = {"below 0.1": (0.0, 0.1), "0.1 to 0.3": (0.1, 0.3), "0.3 to 0.5": (0.3, 0.5), "above 0.5": (0.5, 1.01)}
NUMBERS = {"1": (1, 2), "2 to 3": (2, 4), "4 to 7": (4, 8), "8 to 15": (8, 16), "16 and more": (16, np.inf)}
SIZES = {"below 32²": (0, 32**2), "32² to 96²": (32**2, 96**2), "above 96²": (96**2, np.inf)}
OVERLAPPING = (0.3, 1.01)
"""The largest IoU with another of its class of what is called an overlapping object."""
RECALL_AT = "recall_overlapping_at_precision_0.7"
CROWD_SCORES = {
    "MR^-2": "MR^-2  log-average miss rate, lower is better", "JI": "JI   Jaccard index at its best score",
    RECALL_AT: "recall of overlapping objects at precision .7",
}
"""What the literature on crowds reports, and how much of crowds is found, by name; and their meanings."""


def crowd_scores(matches: Matches) -> dict[str, float]:
    """Those of `CROWD_SCORES`."""
    return {"MR^-2": miss_rate(matches), "JI": jaccard_index(matches), RECALL_AT: recall_at_precision(matches, 0.7)}


def recall_at_precision(matches: Matches, precision: float) -> float:
    """The recall of overlapping objects at IoU .5 from the lowest score on, one for all classes, from which on the
    precision of all detections is still at least so much; nan where it never is, or where no objects overlap."""
    scores, found, wrong = matches.by_score(np.ones(len(matches.scores), dtype=bool))
    enough = scores[found / (found + wrong) >= precision]
    if not len(enough):
        return float("nan")
    every = np.ones(len(matches.object_labels), dtype=bool)
    return keep(matches, matches.scores >= enough[-1], every).recall(overlap=OVERLAPPING)[0]


def by_overlap(matches: Matches) -> list[dict]:
    """AP and recall of objects by the largest IoU that each has with another of its class.

    A detection that matched no object counts where the object of its class lies that it overlaps most, below 0.1 where
    it overlaps none.
    """
    nearest, _ = nearest_objects(matches)
    own = np.where(nearest >= 0, np.append(matches.overlap, 0.0)[nearest], 0.0)
    return [
        _row("overlap", name, _only(matches, _between(matches.overlap, bounds), _between(own, bounds)))
        for name, bounds in OVERLAPS.items()
    ]


def by_number(matches: Matches) -> list[dict]:
    """AP and recall in images by the number of their objects."""
    number = np.bincount(matches.object_images, minlength=len(matches.image_ids))
    rows = []
    for name, bounds in NUMBERS.items():
        there = _between(number, bounds)
        part = keep(matches, there[matches.images], there[matches.object_images])
        rows.append({**_row("objects in the image", name, part), "images": int(there.sum())})
    return rows


def by_size(matches: Matches) -> list[dict]:
    """AP and recall of objects by their area in pixels of the original image.

    A detection that matched no object counts where its own area lies, as in COCO's APs, APm and APl.
    """
    own = (matches.boxes[:, 2:] - matches.boxes[:, :2]).prod(1)
    return [
        _row("area", name, _only(matches, _between(matches.object_areas, bounds), _between(own, bounds)))
        for name, bounds in SIZES.items()
    ]


def duplicates(matches: Matches, thresholds: Float[np.ndarray, "C"]) -> float:
    """Duplicates an image: boxes that show an object of their class once more, at IoU .5, with a score of at least
    their class's threshold."""
    _, iou = nearest_objects(matches)
    sure = matches.scores >= thresholds[matches.labels]
    again = sure & (iou >= 0.5) & ~matches.true_positive[:, 0] & ~matches.ignored[:, 0]
    return float(again.sum() / max(1, len(matches.image_ids)))


def nearest_objects(matches: Matches) -> tuple[Int64[np.ndarray, "D"], Float[np.ndarray, "D"]]:
    """Of each detection, the object of its class that it overlaps most, -1 where it overlaps none; and that IoU."""
    nearest, most = np.full(len(matches.scores), -1), np.zeros(len(matches.scores))
    for detections, objects in by_image(matches.images, matches.object_images, len(matches.image_ids)):
        if len(detections) and len(objects):
            iou = pairwise_iou(matches.boxes[detections], matches.object_boxes[objects])
            iou *= matches.labels[detections][:, None] == matches.object_labels[objects][None]
            most[detections] = iou.max(1)
            nearest[detections] = np.where(most[detections] > 0, objects[iou.argmax(1)], -1)
    return nearest, most


def _only(matches: Matches, objects: Bool[np.ndarray, "G"], detections: Bool[np.ndarray, "D"]) -> Matches:
    """Some objects, the detections that matched them, and those of the given that matched none."""
    part = keep(matches, np.ones(len(matches.scores), dtype=bool), objects)
    part.ignored |= ~detections[:, None] & ~part.true_positive
    return part


def _row(heading: str, name: str, part: Matches) -> dict:
    precision = part.average_precision()[0]
    found = part.found
    return {
        heading: name, "objects": len(found), "AP": float(precision.mean()), "AP50": float(precision[0]),
        "recall": float(found[:, 0].mean()) if len(found) else np.nan,
    }


def _between(values: np.ndarray, bounds: tuple[float, float]) -> Bool[np.ndarray, "N"]:
    return (values >= bounds[0]) & (values < bounds[1])
