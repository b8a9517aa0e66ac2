"""Which detections met which objects: all that average precision needs, small enough to keep, quick to resample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from detector.errors import InputError
from detector.evaluation.coco_map import CocoMAP

RECALLS = np.linspace(0, 1, 101)
OF_OBJECTS = ("found", "object_images", "object_labels", "object_boxes", "object_areas", "overlap")


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
            overlap.append(_largest_iou(_corners(_boxes(truth[i] for i in one["gtIds"])))[counted])
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
            object_boxes=_corners(_boxes(annotated)),
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


def keep(matches: Matches, detections: Bool[np.ndarray, "D"], objects: Bool[np.ndarray, "G"]) -> Matches:
    """Some detections and some objects; no detection that stays may have met an object that goes."""
    number = np.where(objects, np.cumsum(objects) - 1, -1)
    chosen = {
        field.name: getattr(matches, field.name)[objects if field.name in OF_OBJECTS else detections]
        for field in fields(Matches) if field.name != "image_ids"
    }
    chosen["met"] = np.where(chosen["met"] >= 0, number[chosen["met"]], -1) if len(number) else chosen["met"]
    return Matches(**chosen, image_ids=matches.image_ids)


def by_image(
    images: Int64[np.ndarray, "D"], object_images: Int64[np.ndarray, "G"], count: int
) -> Iterator[tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]]:
    """For each of `count` images, the positions of its detections and of its objects."""
    split = []
    for of in (images, object_images):
        order = np.argsort(of, kind="stable")
        split.append(np.split(order, np.searchsorted(of[order], np.arange(1, count))))
    return zip(*split)


def pairwise_iou(a: Float[np.ndarray, "N 4"], b: Float[np.ndarray, "M 4"]) -> Float[np.ndarray, "N M"]:
    """IoU of every box with every other, `xyxy`."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = sides.clip(0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None] - common
    return common / np.maximum(union, 1e-9)


def _boxes(annotations: Iterable[dict]) -> Float[np.ndarray, "N 4"]:
    return np.array([one["bbox"] for one in annotations], dtype=np.float64).reshape(-1, 4)


def _corners(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """From (x, y, width, height)."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def _largest_iou(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N"]:
    """Of each box, the largest IoU with another."""
    iou = pairwise_iou(boxes, boxes)
    np.fill_diagonal(iou, 0)
    return iou.max(1, initial=0)
