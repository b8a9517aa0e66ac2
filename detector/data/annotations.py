"""The ground truth as every format leaves it: records in original pixels, and what was wrong on the way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from detector.errors import InputError

log = logging.getLogger(__name__)


@dataclass
class Record:
    """The ground truth of one image, in its pixels.

    `ignored` objects neither train nor count (`difficult` in VOC, `iscrowd` in COCO); a `crowd` among them takes up any
    number of detections inside it, as the COCO protocol says.
    """

    image_id: int
    path: Path
    size: tuple[int, int]
    """(height, width)"""
    boxes: Float[np.ndarray, "N 4"]
    labels: Int64[np.ndarray, "N"]
    ignored: Bool[np.ndarray, "N"]
    crowd: Bool[np.ndarray, "N"]
    areas: Float[np.ndarray, "N"]
    """What small, medium and large go by: of the mask where the format has one, else of the box."""


@dataclass
class Report:
    """What was wrong with the annotations, said once and counted."""

    source: str
    on_bad_sample: str = "skip"
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)

    def skip(self, line: str) -> None:
        """Add why an image cannot be used, or raise it, as `on_bad_sample` says."""
        if self.on_bad_sample == "raise":
            raise InputError(f"{line}; pass data.dataset.on_bad_sample=skip to go on without it")
        self.add(f"{line}; image skipped")

    def say(self, shown: int = 8) -> None:
        if self.lines:
            more = f"\n  … and {len(self.lines) - shown} more" if len(self.lines) > shown else ""
            text = "\n  ".join(self.lines[:shown])
            log.warning("%s: %d problem(s) in the annotations:\n  %s%s", self.source, len(self.lines), text, more)


def make_record(image_id: int, path: Path, size: tuple[int, int], objects: list[tuple], report: Report) -> Record:
    """The ground truth of an image: boxes are clipped to it, those without an area there left out; both is reported.

    Args:
        size: (height, width).
        objects: of each its box (`xyxy` in pixels), label, whether it is ignored, whether it is a crowd, its area
            (None: that of the clipped box), and what to call it: its file and line.
    """
    height, width = size
    kept = []
    for box, label, ignored, crowd, area, name in objects:
        x1, y1, x2, y2 = clipped = [min(max(v, 0.0), end) for v, end in zip(box, (width, height, width, height))]
        empty = x1 >= x2 or y1 >= y2
        if empty or max(abs(after - before) for after, before in zip(clipped, box)) > 1:
            done = "has no area inside the {}×{} image; skipped" if empty else "leaves the {}×{} image; clipped"
            numbers = ", ".join(f"{value:g}" for value in box)
            report.add(f"{name}: box ({numbers}) {done.format(width, height)}")
        if not empty:
            kept.append((clipped, label, ignored, crowd, (x2 - x1) * (y2 - y1) if area is None else area))
    boxes, *others = zip(*kept) if kept else [()] * 5
    columns = (np.array(values, dtype) for values, dtype in zip(others, (np.int64, bool, bool, np.float64)))
    return Record(image_id, path, size, np.array(boxes, np.float64).reshape(-1, 4), *columns)


def fraction(items: Sequence, fractions: dict, split: str) -> list:
    """The items of one split, where splits are shares of a shuffle, in the order of `fractions`.

    The shuffle is always the same: runs of several seeds are tested on the same images."""
    shares = fractions.values()
    if not all(isinstance(share, (int, float)) and share >= 0 for share in shares) or sum(shares) > 1 + 1e-9:
        raise InputError(f"the splits are {fractions}; they must all be fractions, at least 0, and sum up to 1 at most")
    order = np.random.default_rng(0).permutation(len(items))
    names = list(fractions)
    start = sum(fractions[name] for name in names[: names.index(split)])
    low, high = (round(edge * len(items)) for edge in (start, start + fractions[split]))
    return [items[i] for i in sorted(order[low:high])]


def require_split(splits: dict, split: str) -> None:
    """Raise `InputError` where there is no such split, naming those that exist."""
    if split not in splits:
        raise InputError(f"no split {split!r}; there are {', '.join(splits)}")


def label_of(name: str, class_names: Sequence[str], where: str, unknown: str, report: Report) -> int | None:
    """The label of a class name; None (reported) for an unknown one that is to be skipped."""
    if name in class_names:
        return class_names.index(name)
    if unknown == "raise":
        raise InputError(
            f"{where}: class {name!r} is not among data.dataset.class_names ({', '.join(class_names)}); add it there, "
            "or pass data.dataset.unknown_classes=skip"
        )
    report.add(f"{where}: class {name!r} is not among the class names; skipped")
    return None
