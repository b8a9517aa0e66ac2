"""What every data set is: records of the truth in original pixels, read and transformed one at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from detector.data.transform import Transform
from detector.errors import InputError
from detector.types import Batch, Target

log = logging.getLogger(__name__)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")


@dataclass
class Record:
    """The truth about one image, in its pixels.

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
class Sample:
    """One canvas and its target."""

    image: UInt8[Tensor, "3 H W"]
    target: Target


@dataclass
class Unreadable:
    """In place of a sample that could not be made: why."""

    reason: str


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


class DetectionDataset(Dataset):
    """Images with boxes; a format is a subclass that fills `records`.

    An item is asked for by `(epoch, index)`: the random choices of its augmentation follow from the seed, the epoch and
    the index alone, whatever worker makes it, so that a resumed run sees what an uninterrupted one would.

    Args:
        class_names: names of the labels 0 … C-1.
        records: the truth, one record an image.
        transform: to the canvas.
        on_bad_sample: `skip` yields `Unreadable` for an image that does not open, `raise` raises.
        seed: of the augmentation.

    Attributes:
        category_ids: the data set's own number of each label, as COCO results want it.
    """

    category_ids: list[int]

    def __init__(
        self, *, class_names: Sequence[str], records: Sequence[Record], transform: Transform, on_bad_sample: str,
        seed: int,
    ):
        if on_bad_sample not in ("skip", "raise"):
            raise InputError(f"on_bad_sample is {on_bad_sample!r}; it must be skip or raise")
        if not class_names:
            raise InputError("no annotation names a class; correct the annotations, or set data.dataset.class_names")
        self.class_names = list(class_names)
        self.category_ids = list(range(1, len(self.class_names) + 1))
        self.records = records
        self.transform = transform
        self.on_bad_sample = on_bad_sample
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Sample | Unreadable:
        epoch, index = key
        record = self.record(epoch, index)
        try:
            image = self.read(record)
        except (OSError, InputError) as error:
            if self.on_bad_sample == "raise":
                raise InputError(f"{error}; pass data.dataset.on_bad_sample=skip to go on without it") from error
            return Unreadable(str(error))
        use = ~record.ignored
        seed = np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0]
        canvas, boxes, labels = self.transform(image, record.boxes[use], record.labels[use], seed=int(seed))
        return Sample(canvas, Target(boxes, labels, record.image_id, record.size))

    def warn_of_unseen(self) -> None:
        """Name the classes of which no object counts: who trains on these images does not learn them."""
        seen = {label for record in self.records for label in record.labels[~record.ignored].tolist()}
        if unseen := [name for label, name in enumerate(self.class_names) if label not in seen]:
            log.warning(
                "there is no object of %s in the training split, so that it cannot be learnt: move images with it "
                "there, or leave it out by data.dataset.class_names and data.dataset.unknown_classes=skip",
                ", ".join(unseen),
            )

    def record(self, epoch: int, index: int) -> Record:
        """The truth about item `index` of an epoch."""
        return self.records[index]

    def read(self, record: Record) -> UInt8[np.ndarray, "H W 3"]:
        """The image, upright and as RGB.

        Raises:
            InputError: it does not open, or is not as large as its annotation says.
        """
        image = read_image(record.path)
        if image.shape[:2] != tuple(record.size):
            raise InputError(
                f"{record.path}: is {image.shape[1]}×{image.shape[0]} pixels, its annotation says "
                f"{record.size[1]}×{record.size[0]}"
            )
        return image


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """An image file, turned upright by its EXIF tag, as RGB.

    Raises:
        InputError: there is no such file or it is not an image.
    """
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: does not open as an image ({error})") from error


def collate(samples: list[Sample | Unreadable]) -> tuple[Batch, list[str]]:
    """A batch of those samples that could be made, and why the others could not."""
    made = [sample for sample in samples if isinstance(sample, Sample)]
    images = torch.stack([s.image for s in made]) if made else torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    return Batch(images, [s.target for s in made]), [s.reason for s in samples if isinstance(s, Unreadable)]


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
