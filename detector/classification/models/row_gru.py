"""A GRU that reads an image piece by piece."""

from __future__ import annotations

from functools import partial

from torch import nn

from detector.classification.models.equal_size import equal_size
from detector.classification.models.recurrent_classifier import RecurrentClassifier
from detector.classification.models.row_lstm import RowLSTM


class RowGRU(RecurrentClassifier):
    """A GRU (Cho et al. 2014), with as many parameters as the `RowLSTM` of the same options.

    Args:
        features, num_classes, layers, direction, dropout: see `RecurrentClassifier`.
        steps: how many there are; it reads any number.
        hidden_size: of that LSTM; a GRU has three gates to its four, so that its own is larger.
    """

    def __init__(
        self, *, features: int, steps: int, num_classes: int, hidden_size: int, layers: int, direction: str = "forward",
        dropout: float = 0.0,
    ):
        make = partial(
            RecurrentClassifier, nn.GRU, features=features, num_classes=num_classes, layers=layers, direction=direction
        )
        lstm = partial(
            RowLSTM, features=features, steps=steps, num_classes=num_classes, hidden_size=hidden_size, layers=layers,
            direction=direction,
        )
        super().__init__(
            nn.GRU, features=features, num_classes=num_classes,
            hidden_size=equal_size(lambda size: make(hidden_size=size), lstm), layers=layers, direction=direction,
            dropout=dropout,
        )
