"""The splits of a data set as loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import lightning
import numpy as np
from torch.utils.data import DataLoader, Sampler

from detector.data.image_dataset import ImageDataset
from detector.data.scene_cache import SceneCache
from detector.errors import InputError

D = TypeVar("D", bound=ImageDataset)


class DataModule(lightning.LightningDataModule, Generic[D]):
    """Loaders of `train`, `val` and `test`.

    Args:
        dataset: makes one split from `split`, `transform`, `class_names` and `seed`.
        augment: what training images go through.
        resize: what all others go through.
        class_names: labels in order; None takes all that the data names, whatever the split.
        batch_size: images a batch and process.
        num_workers: processes that prepare batches; 0 prepares them in the main one.
        seed: of shuffling, augmentation and generated training pictures.

    Attributes:
        scenes: what training reads in place of the images, where a frozen detector has seen them.
    """

    def __init__(
        self, *, dataset: Callable[..., D], augment: Callable, resize: Callable,
        class_names: Sequence[str] | None, batch_size: int, num_workers: int, seed: int,
    ):
        super().__init__()
        if batch_size < 1:
            raise InputError(f"data.batch_size is {batch_size}; it must be at least 1")
        self.make, self.augment, self.resize = dataset, augment, resize
        self._class_names = class_names
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.scenes: SceneCache | None = None

    @property
    def class_names(self) -> list[str]:
        """Names of the labels."""
        return list(self._class_names) if self._class_names is not None else self.train.class_names

    @cached_property
    def train(self) -> D:
        dataset = self.training_images(self.seed)
        dataset.warn_of_unseen()
        return dataset

    def training_images(self, seed: int) -> D:
        """The training split, augmented by a seed of one's choice."""
        return self.make(split="train", transform=self.augment, class_names=self._class_names, seed=seed)

    @cached_property
    def val(self) -> D:
        return self.split("val")

    @cached_property
    def test(self) -> D:
        return self.split("test")

    def split(self, name: str) -> D:
        """Any split, unaugmented, with this module's class names."""
        return self.make(split=name, transform=self.resize, class_names=self.class_names, seed=self.seed)

    def train_dataloader(self) -> DataLoader:
        if self.scenes is None:
            return self.loader(self.train, shuffle=True)
        sampler = EpochSampler(len(self.scenes), shuffle=True, seed=self.seed)  # no workers: reading is quick
        return DataLoader(self.scenes, self.batch_size, sampler=sampler, collate_fn=self.scenes.collate)

    def val_dataloader(self) -> DataLoader:
        return self.loader(self.val)

    def test_dataloader(self) -> DataLoader:
        return self.loader(self.test)

    def loader(self, dataset: ImageDataset, *, shuffle: bool = False) -> DataLoader:
        """Batches of a data set, shuffled or in order; this process's share where there are several."""
        sampler = EpochSampler(
            len(dataset), shuffle=shuffle, seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            processes=self.trainer.world_size if self.trainer else 1,
        )
        return DataLoader(
            dataset, self.batch_size, sampler=sampler, num_workers=self.num_workers, collate_fn=dataset.collate,
            persistent_workers=self.num_workers > 0,
        )


class EpochSampler(Sampler):
    """Yields `(epoch, index)`, shuffled anew each epoch or in order, shared out over processes.

    Shuffled (training), every process gets equally many, the last ones filled up from the start; in order
    (evaluation), each sample is given out exactly once.

    Args:
        length: samples in the data set.
        shuffle: or in order, always of epoch 0.
        seed: of the shuffling.
        rank, processes: this process and how many there are.
    """

    def __init__(self, length: int, *, shuffle: bool, seed: int = 0, rank: int = 0, processes: int = 1):
        self.length, self.shuffle, self.seed, self.rank, self.processes = length, shuffle, seed, rank, processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch if self.shuffle else 0

    def __len__(self) -> int:
        if self.shuffle:
            return -(-self.length // self.processes)
        return len(range(self.rank, self.length, self.processes))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
            order = np.resize(order, len(self) * self.processes)
        for index in order[self.rank :: self.processes]:
            yield self.epoch, int(index)
