"""What every data set is: images with boxes, read and transformed one at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from detector.data.annotations import Record
from detector.data.transform import Transform
from detector.errors import InputError
from detector.types import Batch, Target

log = logging.getLogger(__name__)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")


@dataclass
class Sample:
    """One canvas and its target."""

    image: UInt8[Tensor, "3 H W"]
    target: Target


@dataclass
class Unreadable:
    """In place of a sample that could not be made: why."""

    reason: str


class DetectionDataset(Dataset):
    """Images with boxes; a format is a subclass that fills `records`.

    An item is asked for by `(epoch, index)`: the random choices of its augmentation follow from the seed, the epoch and
    the index alone, whatever worker makes it, so that a resumed run sees what an uninterrupted one would.

    Args:
        class_names: names of the labels 0 … C-1.
        records: the ground truth, one record an image.
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
        """The ground truth of item `index` of an epoch."""
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
