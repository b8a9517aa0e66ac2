"""Small pictures that torchvision fetches, such as MNIST."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torchvision
from jaxtyping import UInt8

from detector.classification.data.dataset import ClassificationDataset, Example, part
from detector.classification.data.preprocessing import Preprocessing
from detector.data.annotations import require_split
from detector.errors import InputError

NAMES = ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100")
OFFICIAL = "official"


class TorchvisionImages(ClassificationDataset):
    """One of torchvision's data sets that fit into memory; fetched on first use.

    Args:
        root: where torchvision keeps the files, in a folder of its own choice.
        name: of the class in `torchvision.datasets`, one of `NAMES`.
        splits: `official` for the test images, or where in a shuffle of the training images a split begins and ends,
            see `part`.
        split: which one this is.
        class_names: the data set's own; given only to check that a checkpoint knows the same.
        transform, on_bad_sample, seed: see `ClassificationDataset`.

    Raises:
        InputError: there is no such data set, or it can be neither read nor fetched.
    """

    def __init__(
        self, *, root: str, name: str, splits: dict, split: str, transform: Preprocessing,
        class_names: Sequence[str] | None = None, on_bad_sample: str = "skip", seed: int = 0,
    ):
        if name not in NAMES:
            raise InputError(f"data.dataset.name is {name!r}; there are {', '.join(NAMES)}")
        require_split(splits, split)
        for one, bounds in splits.items():
            if isinstance(bounds, str) and bounds != OFFICIAL:
                raise InputError(
                    f"data.dataset.splits.{one} is {bounds!r}; expected {OFFICIAL} (the test images) or a part of the "
                    "training images, such as [0, 0.9]"
                )
        training = splits[split] != OFFICIAL
        kind = getattr(torchvision.datasets, name)
        try:
            found = kind(root, train=training, download=True)
        except (OSError, RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:  # bad files too
            folder = getattr(kind, "base_folder", f"{name}/raw")
            why = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"{name} can be neither read from {root}/{folder} nor fetched ({why}); remove that folder and run the "
                "command where there is a network, or copy the folder from a machine that has it"
            ) from error
        if class_names is not None and list(class_names) != list(found.classes):
            raise InputError(f"{name} has the classes {list(found.classes)}, not {list(class_names)}")
        kept = "train" if training else "test"
        examples = [Example(number, int(label), f"{kept} #{number}") for number, label in enumerate(found.targets)]
        if training:
            parts = {one: bounds for one, bounds in splits.items() if bounds != OFFICIAL}
            examples = part(examples, parts, split)
        self.pixels = np.asarray(found.data)
        super().__init__(
            class_names=found.classes, records=examples, transform=transform, on_bad_sample=on_bad_sample, seed=seed
        )

    def read(self, record: Example) -> UInt8[np.ndarray, "H W 3"]:
        pixels = self.pixels[record.image_id]
        return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
