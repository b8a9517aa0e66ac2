"""A decoder: a GRU that reads the ordered proposals."""

from __future__ import annotations

from functools import partial

from torch import nn

from detector.decoders.list_reader import ListReader
from detector.decoders.recurrence import Recurrence


class GRU(ListReader):
    """Reads the proposals one after another; its memory tells it what it has already written.

    Args:
        hidden_size: H, of what is read and of the GRU.
        layers: stacked.
        dropout: on what is read and between layers.
        bidirectional: whether a step also knows those after it, each direction having half of H.
        reading: further arguments of `ListReader`.
    """

    def __init__(self, *, hidden_size: int, layers: int, dropout: float, bidirectional: bool = False, **reading):
        memory = partial(
            Recurrence, nn.GRU, size=hidden_size, layers=layers, dropout=dropout, bidirectional=bidirectional
        )
        super().__init__(memory=memory, hidden_size=hidden_size, dropout=dropout, **reading)
