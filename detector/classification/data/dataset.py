"""What every data set of the classification task is: images with one label each, read and prepared one at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from detector.classification.data.preprocessing import Preprocessing
from detector.classification.labelled_images import LabelledImages
from detector.data.annotations import require_split
from detector.data.dataset import read_image
from detector.data.image_dataset import ImageDataset, Unreadable
from detector.errors import InputError

log = logging.getLogger(__name__)


@dataclass
class Example:
    """One image and what it shows."""

    image_id: int
    label: int
    name: str
    """For people, and the same on every machine: such as the path below the root."""
    path: Path | None = None
    """The file, where there is one."""


@dataclass
class Sample:
    """One image as the network sees it, its label and number."""

    image: Float[Tensor, "K H W"]
    label: int
    image_id: int


class ClassificationDataset(ImageDataset):
    """Images with one label each; a format is a subclass that fills `records`.

    Args:
        class_names, records, on_bad_sample, seed: see `ImageDataset`.
        transform: to what the network sees.

    Raises:
        InputError: there is no image, fewer than two classes, or a label is none of 0 … C-1.
    """

    transform: Preprocessing

    def __init__(
        self, *, class_names: Sequence[str], records: Sequence[Example], transform: Preprocessing,
        on_bad_sample: str = "skip", seed: int = 0,
    ):
        if len(class_names) < 2:
            raise InputError(
                f"there is one class only ({', '.join(class_names) or 'none'}): nothing is to be told apart; give "
                "images of at least two"
            )
        for one in records:
            if not 0 <= one.label < len(class_names):
                raise InputError(
                    f"{one.name} has the label {one.label}, expected 0 to {len(class_names) - 1}: labels count from 0"
                )
        if not records:
            raise InputError("a split is empty; give it images, or another share in data.dataset.splits")
        super().__init__(
            class_names=class_names, records=records, transform=transform, on_bad_sample=on_bad_sample, seed=seed
        )

    def sample(self, image: UInt8[np.ndarray, "_ _ 3"], record: Example, seed: int) -> Sample:
        return Sample(self.transform(image, seed=seed), record.label, record.image_id)

    def read(self, record: Example) -> UInt8[np.ndarray, "_ _ 3"]:
        assert record.path  # or the subclass reads
        return read_image(record.path)

    def warn_of_unseen(self) -> None:
        """Name the classes without an image: who trains on these does not learn them.

        Raises:
            InputError: all images are of one class.
        """
        seen = {example.label for example in self.records}
        if len(seen) < 2:
            raise InputError(
                f"all {len(self)} training images show {self.class_names[min(seen)]}: one class only, nothing is to be "
                "told apart; give images of at least two"
            )
        if unseen := [name for label, name in enumerate(self.class_names) if label not in seen]:
            log.warning("there is no image of %s in the training split: it cannot be learnt", ", ".join(unseen))

    @staticmethod
    def collate(samples: list[Sample | Unreadable]) -> tuple[LabelledImages, list[str]]:
        made = [sample for sample in samples if isinstance(sample, Sample)]
        images = torch.stack([sample.image for sample in made]) if made else torch.empty(0, 1, 1, 1)
        labels = torch.tensor([sample.label for sample in made], dtype=torch.int64)
        batch = LabelledImages(images, labels, [sample.image_id for sample in made])
        return batch, [sample.reason for sample in samples if isinstance(sample, Unreadable)]


def part(examples: Sequence[Example], splits: dict, split: str) -> list[Example]:
    """The examples of one split, where splits are parts, from and to, of a shuffle: `{train: [0, 0.8], val: [0.8, 1]}`.

    Each class is shuffled and parted by itself, so that all splits hold the classes in equal shares. The shuffle is
    always the same: runs of several seeds are tested on the same images.

    Raises:
        InputError: there is no such split, it is no part, or no image falls into it.
    """
    require_split(splits, split)
    for name, bounds in splits.items():
        numbers = isinstance(bounds, (list, tuple)) and all(isinstance(edge, (int, float)) for edge in bounds)
        if not (numbers and len(bounds) == 2 and 0 <= bounds[0] <= bounds[1] <= 1):
            raise InputError(
                f"data.dataset.splits.{name} is {bounds!r}; expected where the part begins and ends, such as [0.8, 1]"
            )
    low, high = splits[split]
    taken = []
    for label in sorted({example.label for example in examples}):
        mine = [example for example in examples if example.label == label]
        order = np.random.default_rng(label).permutation(len(mine))
        taken += [mine[index] for index in order[round(low * len(mine)) : round(high * len(mine))]]
    if not taken:
        raise InputError(
            f"split {split!r} is empty: the part {splits[split]} of {len(examples)} images, class by class; give more "
            "images or a wider part"
        )
    return sorted(taken, key=lambda example: example.image_id)
