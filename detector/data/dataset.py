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
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)

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


def clean_boxes(
    boxes: Float[np.ndarray, "N 4"], size: tuple[int, int], describe: Sequence[str], report: Report
) -> tuple[Float[np.ndarray, "N 4"], Bool[np.ndarray, "N"]]:
    """Clip boxes to the image and mark those that have an area there; what is done is reported.

    Args:
        boxes: `xyxy` in pixels.
        size: (height, width).
        describe: what to call each box: its file and line.
    """
    height, width = size
    clipped = boxes.clip(0, [width, height, width, height])
    keep = ((clipped[:, 2:] - clipped[:, :2]) > 0).all(1) & np.isfinite(boxes).all(1)
    for i, name in enumerate(describe):
        numbers = ", ".join(f"{value:g}" for value in boxes[i])
        if not keep[i]:
            report.add(f"{name}: box ({numbers}) has no area inside the {width}×{height} image; skipped")
        elif np.abs(clipped[i] - boxes[i]).max() > 1:
            report.add(f"{name}: box ({numbers}) leaves the {width}×{height} image; clipped")
    return clipped, keep


def fraction(items: Sequence, fractions: dict[str, float], split: str) -> list:
    """The items of one split, where splits are shares of a shuffle, in the order of `fractions`.

    The shuffle is always the same: runs of several seeds are tested on the same images."""
    if sum(fractions.values()) > 1 + 1e-9 or min(fractions.values()) < 0:
        raise InputError(f"the splits' fractions are {fractions}; they must be at least 0 and sum up to 1 at most")
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
