"""The default decoder: an LSTM over the ordered proposals."""

from __future__ import annotations

from torch import nn

from detector.decoders.recurrence import Recurrence
from detector.decoders.sequence_decoder import SequenceDecoder


class LSTM(SequenceDecoder):
    """Its recurrent state tells a slot what has been predicted before it.

    Args:
        hidden_size: H, of region features and of the LSTM.
        layers: stacked.
        dropout: on region features and between layers.
        options: further arguments of `SequenceDecoder`.
    """

    def __init__(self, *, hidden_size: int, layers: int, dropout: float, **options):
        model = Recurrence(nn.LSTM, size=hidden_size, layers=layers, dropout=dropout)
        super().__init__(sequence_model=model, hidden_size=hidden_size, dropout=dropout, **options)
