"""Which detections matched which objects: all that average precision needs, small enough to keep, quick to resample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from detector.errors import InputError
from detector.evaluation.coco_map import BEYOND_EVERY_AREA, CocoMAP
from detector.evaluation.greedy import match

RECALLS = np.linspace(0, 1, 101)
OF_OBJECTS = ("object_images", "object_labels", "object_boxes", "object_areas", "overlap")


@dataclass
class Matches:
    """COCO's matches of detections and objects, over all sizes, with as many detections an image and class as the
    metric looks at.

    Letters in shapes: D detections, T IoU thresholds (.50, .55, … .95), G counted objects, I images, C classes. Boxes
    are `xyxy` in pixels of the original image.
    """

    scores: Float[np.ndarray, "D"]
    labels: Int64[np.ndarray, "D"]
    images: Int64[np.ndarray, "D"]
    """Positions in `image_ids`."""
    boxes: Float[np.ndarray, "D 4"]
    steps: Int64[np.ndarray, "D"]
    """The step of the sequence that predicted it, from 0."""
    matched: Int64[np.ndarray, "D T"]
    """The object that it matched; -1: none."""
    ignored: Bool[np.ndarray, "D T"]
    """Matched an object that does not count, or a crowd."""
    object_images: Int64[np.ndarray, "G"]
    object_labels: Int64[np.ndarray, "G"]
    object_boxes: Float[np.ndarray, "G 4"]
    object_areas: Float[np.ndarray, "G"]
    """As annotated, which need not be the box's."""
    overlap: Float[np.ndarray, "G"]
    """The largest IoU of each object with another of its class in its image."""
    image_ids: Int64[np.ndarray, "I"]

    @staticmethod
    def of(metric: CocoMAP, *, steps: int | None = None) -> Matches:
        """The matches of the detections that a metric has gathered.

        Args:
            metric: holds them and the ground truth.
            steps: only those of the first so many steps of the sequence.
        """
        classes = len(metric.category_ids)
        label_of = {number: label for label, number in enumerate(metric.category_ids)}
        image_ids = np.array(sorted(metric.rows), dtype=np.int64)
        rows = metric.all_rows()
        rows = rows if steps is None else rows[rows[:, 7] < steps]
        images = np.searchsorted(image_ids, rows[:, 0])
        labels = np.array([label_of[number] for number in rows[:, 6].astype(int)], dtype=np.int64)
        best = _first_of_each(images * classes + labels, rows[:, 5], metric.max_detections)
        rows, images, labels = rows[best], images[best], labels[best]
        ground_truth = [one for one in metric.ground_truth["annotations"] if one["image_id"] in metric.rows]
        object_images = np.searchsorted(image_ids, np.array([one["image_id"] for one in ground_truth], dtype=np.int64))
        object_labels = np.array([label_of[one["category_id"]] for one in ground_truth], dtype=np.int64)
        object_boxes = corners(np.array([one["bbox"] for one in ground_truth], dtype=np.float64).reshape(-1, 4))
        areas = np.array([one["area"] for one in ground_truth], dtype=np.float64)
        crowd = np.array([one["iscrowd"] for one in ground_truth], dtype=bool)
        counted = ~crowd & (areas < BEYOND_EVERY_AREA)
        groups = object_images * classes + object_labels
        boxes = corners(rows[:, 1:5])
        matched = match(images * classes + labels, rows[:, 5], boxes, groups, object_boxes, ~counted, crowd)
        number = np.append(np.where(counted, np.cumsum(counted) - 1, -1), -1)  # the last is that of none
        return Matches(
            scores=rows[:, 5], labels=labels, images=images, boxes=boxes, steps=rows[:, 7].astype(np.int64),
            matched=number[matched], ignored=(matched >= 0) & (number[matched] < 0), image_ids=image_ids,
            object_images=object_images[counted], object_labels=object_labels[counted],
            object_boxes=object_boxes[counted], object_areas=areas[counted],
            overlap=_largest_iou(groups, object_boxes)[counted],
        )

    @property
    def true_positive(self) -> Bool[np.ndarray, "D T"]:
        """Which detections matched an object."""
        return self.matched >= 0

    @property
    def found(self) -> Bool[np.ndarray, "G T"]:
        """Which objects were matched."""
        found = np.zeros((len(self.object_labels), self.matched.shape[1]), dtype=bool)
        detection, threshold = np.nonzero(self.true_positive)
        found[self.matched[detection, threshold], threshold] = True
        return found

    def save(self, file: Path) -> None:
        """Write a compressed NumPy archive."""
        np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def load(file: Path) -> Matches:
        """Read what `save` wrote.

        Raises:
            InputError: it is not there, is broken, or an older version wrote it.
        """
        if not file.is_file():
            raise InputError(f"{file.parent} has no {file.name}; test its run again")
        try:
            with np.load(file) as archive:
                arrays = {"matched" if name == "met" else name: archive[name] for name in archive}  # as it was called
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise InputError(f"{file} cannot be read ({error}); test its run again") from None
        lacking = sorted({field.name for field in fields(Matches)} - set(arrays))
        if lacking:
            raise InputError(f"{file} lacks {', '.join(lacking)}: it is of an older version; test its run again")
        return Matches(**{field.name: arrays[field.name] for field in fields(Matches)})

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
            return np.full((len(weights), self.matched.shape[1]), np.nan)
        with np.errstate(invalid="ignore"):
            values = np.stack(per_class)
            present = ~np.isnan(values)
            return np.where(present, values, 0).sum(0) / present.sum(0)

    def _precision(
        self, weights: Int[np.ndarray, "R I"], order: Int[np.ndarray, "M"], objects: Float[np.ndarray, "I"]
    ) -> Float[np.ndarray, "R T"]:
        """AP of one class; `order`: its detections by descending score; nan in a resample without an object of it."""
        total = weights @ objects
        mine, true_positive = weights[:, None, self.images[order]], self.true_positive[order].T
        hits = np.cumsum(mine * true_positive, -1, dtype=np.float64)
        misses = np.cumsum(mine * ~(true_positive | self.ignored[order].T), -1, dtype=np.float64)
        result = np.full(hits.shape[:2], np.nan)
        for r in np.flatnonzero(total):
            recall = hits[r] / total[r]
            precision = hits[r] / (hits[r] + misses[r] + np.spacing(1))
            precision = np.maximum.accumulate(precision[:, ::-1], -1)[:, ::-1]
            for t in range(len(recall)):
                at = np.searchsorted(recall[t], RECALLS)
                result[r, t] = precision[t][at[at < len(order)]].sum() / len(RECALLS)
        return result

    def average_recall(self) -> float:
        """COCO's AR: recall, the mean over IoU thresholds and over classes that have objects."""
        found, labels = self.found, np.unique(self.object_labels)
        return float(np.mean([found[self.object_labels == label].mean() for label in labels] or [np.nan]))

    def by_score(
        self, chosen: Bool[np.ndarray, "D"]
    ) -> tuple[Float[np.ndarray, "S"], Int64[np.ndarray, "S"], Int64[np.ndarray, "S"]]:
        """The scores of some detections, each once, descending; and how many true and how many false positives at IoU
        .5 have at least that score. Ignored ones are left out."""
        mine = np.flatnonzero(chosen & ~self.ignored[:, 0])
        scores, which = np.unique(-self.scores[mine], return_inverse=True)
        hit = self.true_positive[mine, 0]
        found, wrong = (np.bincount(which[those], minlength=len(scores)).cumsum() for those in (hit, ~hit))
        return -scores, found, wrong

    def best(self, more: int) -> Matches:
        """Of each image, the detections of the highest scores, so many more than it has objects."""
        order = np.lexsort((-self.scores, self.images))  # stable: equal scores stay in order
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order)) - np.searchsorted(self.images[order], self.images[order])
        objects = np.bincount(self.object_images, minlength=len(self.image_ids))
        return keep(self, rank < objects[self.images] + more, np.ones(len(self.object_images), dtype=bool))

    def recall(self, *, overlap: tuple[float, float]) -> tuple[float, int]:
        """The share of objects matched at IoU .5 among those whose `overlap` lies in a range, and their number."""
        chosen = (self.overlap >= overlap[0]) & (self.overlap < overlap[1])
        return (float(self.found[chosen, 0].mean()) if chosen.any() else float("nan")), int(chosen.sum())


def keep(matches: Matches, detections: Bool[np.ndarray, "D"], objects: Bool[np.ndarray, "G"]) -> Matches:
    """Some detections and some objects; those that matched an object that goes are ignored."""
    number = np.append(np.where(objects, np.cumsum(objects) - 1, -1), -1)
    chosen = {
        field.name: getattr(matches, field.name)[objects if field.name in OF_OBJECTS else detections]
        for field in fields(Matches) if field.name != "image_ids"
    }
    matched = number[chosen["matched"]]
    chosen["ignored"] = chosen["ignored"] | ((chosen["matched"] >= 0) & (matched < 0))
    return Matches(**{**chosen, "matched": matched}, image_ids=matches.image_ids)


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


def corners(boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """From (x, y, width, height)."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def _first_of_each(groups: Int64[np.ndarray, "D"], scores: Float[np.ndarray, "D"], most: int) -> Int64[np.ndarray, "K"]:
    """The positions of the best of each group, in their order."""
    order = np.lexsort((-scores, groups))
    starts = np.searchsorted(groups[order], groups[order])
    return np.sort(order[np.arange(len(order)) - starts < most])


def _largest_iou(groups: Int64[np.ndarray, "N"], boxes: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N"]:
    """Of each box, the largest IoU with another of its group."""
    largest = np.zeros(len(boxes))
    order = np.argsort(groups, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(mine) > 1:
            iou = pairwise_iou(boxes[mine], boxes[mine])
            np.fill_diagonal(iou, 0)
            largest[mine] = iou.max(1)
    return largest
