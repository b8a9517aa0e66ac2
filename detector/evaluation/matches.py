"""Which detections met which objects: all that average precision needs, small enough to keep, quick to resample."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from detector.evaluation.coco_map import CocoMAP

RECALLS = np.linspace(0, 1, 101)


@dataclass
class Matches:
    """What pycocotools matched, over all sizes, with 100 detections an image and class at most.

    Letters in shapes: D detections, T IoU thresholds (.50, .55, … .95), G counted objects, I images, C classes.
    """

    scores: Float[np.ndarray, "D"]
    labels: Int64[np.ndarray, "D"]
    images: Int64[np.ndarray, "D"]
    """Positions in `image_ids`."""
    right: Bool[np.ndarray, "D T"]
    ignored: Bool[np.ndarray, "D T"]
    """Met an object that does not count, or a crowd."""
    found: Bool[np.ndarray, "G T"]
    """Whether each object was met."""
    object_images: Int64[np.ndarray, "G"]
    object_labels: Int64[np.ndarray, "G"]
    overlap: Float[np.ndarray, "G"]
    """The largest IoU of each object with another of its class in its image."""
    image_ids: Int64[np.ndarray, "I"]

    @staticmethod
    def of(metric: CocoMAP) -> Matches:
        """The matches of the detections that a metric has gathered."""
        evaluation = metric.evaluate(everything=False)
        images = evaluation.params.imgIds
        place = {number: i for i, number in enumerate(images)}
        columns: dict[str, list] = {field.name: [] for field in fields(Matches)}
        labels = {number: label for label, number in enumerate(metric.category_ids)}
        boxes = {a["id"]: a["bbox"] for a in metric.truth["annotations"]}
        for one in evaluation.evalImgs:
            if one is None:
                continue
            label, image = labels[one["category_id"]], place[one["image_id"]]
            count = len(one["dtScores"])
            columns["scores"].append(np.array(one["dtScores"], dtype=np.float64))
            columns["labels"].append(np.full(count, label))
            columns["images"].append(np.full(count, image))
            columns["right"].append((one["dtMatches"] > 0).T)
            columns["ignored"].append((one["dtIgnore"] > 0).T)
            counted = ~np.array(one["gtIgnore"], dtype=bool)
            columns["found"].append((one["gtMatches"] > 0).T[counted])
            columns["object_images"].append(np.full(counted.sum(), image))
            columns["object_labels"].append(np.full(counted.sum(), label))
            columns["overlap"].append(_largest_iou([boxes[i] for i in one["gtIds"]])[counted])
        thresholds = len(evaluation.params.iouThrs)
        empty = {
            "scores": np.zeros(0), "labels": np.zeros(0, np.int64), "images": np.zeros(0, np.int64),
            "right": np.zeros((0, thresholds), bool), "ignored": np.zeros((0, thresholds), bool),
            "found": np.zeros((0, thresholds), bool), "object_images": np.zeros(0, np.int64),
            "object_labels": np.zeros(0, np.int64), "overlap": np.zeros(0), "image_ids": np.array(images, np.int64),
        }
        return Matches(**{name: np.concatenate([nothing, *columns[name]]) for name, nothing in empty.items()})

    def save(self, file: Path) -> None:
        """Write a compressed NumPy archive."""
        np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def load(file: Path) -> Matches:
        """Read what `save` wrote."""
        with np.load(file) as archive:
            return Matches(**{name: archive[name] for name in archive.files})

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
