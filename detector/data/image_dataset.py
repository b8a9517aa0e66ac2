"""What every data set is, whatever the task: images, read and transformed one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset

from detector.errors import InputError


@dataclass
class Unreadable:
    """In place of a sample that could not be made: why."""

    reason: str


class ImageDataset(Dataset):
    """Images with what is to be learnt of them.

    An item is asked for by `(epoch, index)`: the random choices of its augmentation follow from the seed, the epoch and
    the index alone, whatever worker makes it, so that a resumed run sees what an uninterrupted one would.

    Args:
        class_names: names of the labels 0 … C-1.
        records: the ground truth, one record an image.
        transform: from an image to what the network is given.
        on_bad_sample: `skip` yields `Unreadable` for an image that does not open, `raise` raises.
        seed: of the augmentation.
    """

    def __init__(
        self, *, class_names: Sequence[str], records: Sequence[Any], transform: Callable, on_bad_sample: str, seed: int
    ):
        if on_bad_sample not in ("skip", "raise"):
            raise InputError(f"on_bad_sample is {on_bad_sample!r}; it must be skip or raise")
        self.class_names = list(class_names)
        self.records = records
        self.transform = transform
        self.on_bad_sample = on_bad_sample
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        record = self.record(epoch, index)
        try:
            image = self.read(record)
        except (OSError, InputError) as error:
            if self.on_bad_sample == "raise":
                raise InputError(f"{error}; pass data.dataset.on_bad_sample=skip to go on without it") from error
            return Unreadable(str(error))
        seed = np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0]
        return self.sample(image, record, int(seed))

    def record(self, epoch: int, index: int) -> Any:
        """The ground truth of item `index` of an epoch."""
        return self.records[index]

    def read(self, record: Any) -> UInt8[np.ndarray, "_ _ 3"]:
        """The image, upright and as RGB.

        Raises:
            InputError: it does not open.
        """
        raise NotImplementedError

    def sample(self, image: UInt8[np.ndarray, "_ _ 3"], record: Any, seed: int) -> Any:
        """What the network is given, with what it is to learn; equal seeds augment equally."""
        raise NotImplementedError

    @staticmethod
    def collate(samples: list) -> tuple[Any, list[str]]:
        """A batch of those samples that could be made, and why the others could not."""
        raise NotImplementedError

    def warn_of_unseen(self) -> None:
        """Name the classes without anything to learn them from."""
        raise NotImplementedError
