"""Which samples come next: a function of the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


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
