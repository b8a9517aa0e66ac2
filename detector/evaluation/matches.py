"""Which detections met which objects: all that average precision needs, small enough to keep, quick to resample."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from detector.errors import InputError
from detector.evaluation.coco_map import CocoMAP

RECALLS = np.linspace(0, 1, 101)


@dataclass
class Matches:
    """What pycocotools matched, over all sizes, with 100 detections an image and class at most.

    Letters in shapes: D detections, T IoU thresholds (.50, .55, … .95), G counted objects, I images, C classes. Boxes
    are `xyxy` in pixels of the original image.
    """

    scores: Float[np.ndarray, "D"]
    labels: Int64[np.ndarray, "D"]
    images: Int64[np.ndarray, "D"]
    """Positions in `image_ids`."""
    boxes: Float[np.ndarray, "D 4"]
    steps: Int64[np.ndarray, "D"]
    """The step of the sequence that wrote it, from 0."""
    right: Bool[np.ndarray, "D T"]
    ignored: Bool[np.ndarray, "D T"]
    """Met an object that does not count, or a crowd."""
    met: Int64[np.ndarray, "D"]
    """The counted object that it met at IoU .5; -1: none."""
    found: Bool[np.ndarray, "G T"]
    """Whether each object was met."""
    object_images: Int64[np.ndarray, "G"]
    object_labels: Int64[np.ndarray, "G"]
    object_boxes: Float[np.ndarray, "G 4"]
    object_areas: Float[np.ndarray, "G"]
    """As annotated, which need not be the box's."""
    overlap: Float[np.ndarray, "G"]
    """The largest IoU of each object with another of its class in its image."""
    image_ids: Int64[np.ndarray, "I"]

    @staticmethod
    def of(metric: CocoMAP) -> Matches:
        """The matches of the detections that a metric has gathered."""
        evaluation = metric.evaluation or metric.evaluate(everything=False)
        ids = evaluation.params.imgIds
        place = {number: i for i, number in enumerate(ids)}
        labels = {number: label for label, number in enumerate(metric.category_ids)}
        rows = metric.all_rows()
        truth = {a["id"]: a for a in metric.truth["annotations"]}
        detections: list[int] = []
        scores: list[float] = []
        objects: list[int] = []
        right, ignored, met, found, overlap = [], [], [], [], []
        for one in evaluation.evalImgs:
            if one is None or one["aRng"] != evaluation.params.areaRng[0]:
                continue
            counted = ~np.array(one["gtIgnore"], dtype=bool)
            detections += one["dtIds"]
            scores += one["dtScores"]
            objects += np.array(one["gtIds"], dtype=np.int64)[counted].tolist()
            right.append((one["dtMatches"] > 0).T)
            ignored.append((one["dtIgnore"] > 0).T)
            met.append(one["dtMatches"][0])
            found.append((one["gtMatches"] > 0).T[counted])
            overlap.append(_largest_iou([truth[i]["bbox"] for i in one["gtIds"]])[counted])
        chosen = rows[np.array(detections, dtype=np.int64) - 1]
        annotated = [truth[number] for number in objects]
        number_of = np.full(max(truth, default=0) + 1, -1)  # of an annotation id; 0 is no annotation
        number_of[objects] = np.arange(len(objects))
        nothing = np.zeros((0, len(evaluation.params.iouThrs)), dtype=bool)
        return Matches(
            scores=np.array(scores, dtype=np.float64),
            labels=np.array([labels[number] for number in chosen[:, 6].astype(int)], dtype=np.int64),
            images=np.array([place[number] for number in chosen[:, 0].astype(int)], dtype=np.int64),
            boxes=_corners(chosen[:, 1:5]),
            steps=chosen[:, 7].astype(np.int64),
            right=np.concatenate([nothing, *right]),
            ignored=np.concatenate([nothing, *ignored]),
            met=number_of[np.concatenate([np.zeros(0), *met]).astype(np.int64)],
            found=np.concatenate([nothing, *found]),
            object_images=np.array([place[a["image_id"]] for a in annotated], dtype=np.int64),
            object_labels=np.array([labels[a["category_id"]] for a in annotated], dtype=np.int64),
            object_boxes=_corners(np.array([a["bbox"] for a in annotated], dtype=np.float64).reshape(-1, 4)),
            object_areas=np.array([a["area"] for a in annotated], dtype=np.float64),
            overlap=np.concatenate([np.zeros(0), *overlap]),
            image_ids=np.array(ids, dtype=np.int64),
        )

    def save(self, file: Path) -> None:
        """Write a compressed NumPy archive."""
        np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def load(file: Path) -> Matches:
        """Read what `save` wrote.

        Raises:
            InputError: an older version wrote it.
        """
        with np.load(file) as archive:
            lacking = sorted({field.name for field in fields(Matches)} - set(archive.files))
            if lacking:
                raise InputError(f"{file} lacks {', '.join(lacking)}: it is of an older version; test its run again")
            return Matches(**{field.name: archive[field.name] for field in fields(Matches)})

    def average_precision(self, weights: Int[np.ndarray, "R I"] | None = None) -> Float[np.ndarray, "R T"]:
        """AP at every IoU threshold, the mean over classes, as COCO defines it.

        Args:
            weights: how often each image counts, in R resamples; None: once.
        """
        if weights is None:
            weights = np.ones((1, len(self.image_ids)), dtype=np.int64)
        per_class = []
        for label in sorted(set(self.object_labels.tolist())):
            of_class = self.object_labels == label
            objects = np.zeros(len(self.image_ids))
            np.add.at(objects, self.object_images[of_class], 1)
            order = np.flatnonzero(self.labels == label)
            order = order[np.argsort(-self.scores[order], kind="mergesort")]
            per_class.append(np.concatenate([  # some resamples at a time: memory
                self._precision(part, order, objects) for part in np.array_split(weights, max(1, len(weights) // 20))
            ]))
        if not per_class:
            return np.full((len(weights), self.found.shape[1]), np.nan)
        with np.errstate(invalid="ignore"):
            values = np.stack(per_class)
            present = ~np.isnan(values)
            return np.where(present, values, 0).sum(0) / present.sum(0)

    def _precision(
        self, weights: Int[np.ndarray, "R I"], order: Int[np.ndarray, "M"], objects: Float[np.ndarray, "I"]
    ) -> Float[np.ndarray, "R T"]:
        """AP of one class, `order` being its detections, best first; nan where a resample holds no object of it."""
        total = weights @ objects
        mine = weights[:, None, self.images[order]]
        hits = np.cumsum(mine * (self.right & ~self.ignored)[order].T, -1, dtype=np.float64)
        misses = np.cumsum(mine * (~self.right & ~self.ignored)[order].T, -1, dtype=np.float64)
        result = np.full(hits.shape[:2], np.nan)
        for r in np.flatnonzero(total):
            recall = hits[r] / total[r]
            precision = hits[r] / (hits[r] + misses[r] + np.spacing(1))
            precision = np.maximum.accumulate(precision[:, ::-1], -1)[:, ::-1]
            for t in range(len(recall)):
                at = np.searchsorted(recall[t], RECALLS)
                result[r, t] = precision[t][at[at < len(order)]].sum() / len(RECALLS)
        return result

    def recall(self, *, overlap: tuple[float, float]) -> tuple[float, int]:
        """The share of objects met at IoU .5 among those whose `overlap` lies in a range, and their number."""
        chosen = (self.overlap >= overlap[0]) & (self.overlap < overlap[1])
        return (float(self.found[chosen, 0].mean()) if chosen.any() else float("nan")), int(chosen.sum())


def _corners(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """From (x, y, width, height)."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def _largest_iou(boxes: list[list[float]]) -> Float[np.ndarray, "N"]:
    """Of each box (x, y, width, height), the largest IoU with another."""
    if len(boxes) < 2:
        return np.zeros(len(boxes))
    x, y, w, h = np.array(boxes).T
    across = np.minimum.outer(x + w, x + w) - np.maximum.outer(x, x)
    down = np.minimum.outer(y + h, y + h) - np.maximum.outer(y, y)
    common = across.clip(0) * down.clip(0)
    iou = common / (np.add.outer(w * h, w * h) - common)
    np.fill_diagonal(iou, 0)
    return iou.max(1)
