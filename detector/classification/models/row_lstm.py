"""An LSTM that reads an image piece by piece."""

from __future__ import annotations

from torch import nn

from detector.classification.models.recurrent_classifier import RecurrentClassifier


class RowLSTM(RecurrentClassifier):
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; docs/lstm.md explains the cell.

    Args:
        features, num_classes, hidden_size, layers, direction, dropout: see `RecurrentClassifier`.
        steps: how many there are; it reads any number.
    """

    def __init__(
        self, *, features: int, steps: int, num_classes: int, hidden_size: int, layers: int, direction: str = "forward",
        dropout: float = 0.0,
    ):
        super().__init__(
            nn.LSTM, features=features, num_classes=num_classes, hidden_size=hidden_size, layers=layers,
            direction=direction, dropout=dropout,
        )
