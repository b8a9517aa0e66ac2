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

from detector.data.annotations import Record
from detector.data.image_dataset import ImageDataset, Unreadable
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


class DetectionDataset(ImageDataset):
    """Images with boxes; a format is a subclass that fills `records`.

    Args:
        class_names, records, on_bad_sample, seed: see `ImageDataset`.
        transform: to the canvas.

    Attributes:
        category_ids: the data set's own number of each label, as COCO results want it.
    """

    category_ids: list[int]
    transform: Transform

    def __init__(
        self, *, class_names: Sequence[str], records: Sequence[Record], transform: Transform, on_bad_sample: str,
        seed: int,
    ):
        if not class_names:
            raise InputError("no annotation names a class; correct the annotations, or set data.dataset.class_names")
        super().__init__(
            class_names=class_names, records=records, transform=transform, on_bad_sample=on_bad_sample, seed=seed
        )
        self.category_ids = list(range(1, len(self.class_names) + 1))

    def sample(self, image: UInt8[np.ndarray, "_ _ 3"], record: Record, seed: int) -> Sample:
        use = ~record.ignored
        canvas, boxes, labels = self.transform(image, record.boxes[use], record.labels[use], seed=seed)
        return Sample(canvas, Target(boxes, labels, record.image_id, record.size))

    @staticmethod
    def collate(samples: list[Sample | Unreadable]) -> tuple[Batch, list[str]]:
        made = [sample for sample in samples if isinstance(sample, Sample)]
        images = torch.stack([s.image for s in made]) if made else torch.empty(0, 3, 32, 32, dtype=torch.uint8)
        return Batch(images, [s.target for s in made]), [s.reason for s in samples if isinstance(s, Unreadable)]

    def warn_of_unseen(self) -> None:
        """Name the classes of which no object counts: who trains on these images does not learn them."""
        seen = {label for record in self.records for label in record.labels[~record.ignored].tolist()}
        if unseen := [name for label, name in enumerate(self.class_names) if label not in seen]:
            log.warning(
                "there is no object of %s in the training split, so that it cannot be learnt: move images with it "
                "there, or leave it out by data.dataset.class_names and data.dataset.unknown_classes=skip",
                ", ".join(unseen),
            )

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
