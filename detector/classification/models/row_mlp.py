"""A feed-forward network that sees all pieces at once."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from detector.classification.models.equal_size import equal_size
from detector.classification.models.row_lstm import RowLSTM
from detector.classification.models.sequence_classifier import SequenceClassifier


class RowMLP(SequenceClassifier):
    """Linear layers and ReLUs over the whole sequence; where it is cut short, zeros stand for what has not been read.

    It has as many parameters as the `RowLSTM` of the same options (one that reads in one direction).

    Args:
        features: D.
        steps: T.
        num_classes: C.
        hidden_size: of that LSTM; its own follows.
        layers: hidden layers.
        dropout: share of hidden units that is left out in training.
    """

    def __init__(
        self, *, features: int, steps: int, num_classes: int, hidden_size: int, layers: int, dropout: float = 0.0
    ):
        super().__init__()
        self.steps = steps
        inputs = steps * features
        lstm = partial(
            RowLSTM, features=features, steps=steps, num_classes=num_classes, hidden_size=hidden_size, layers=layers
        )
        size = equal_size(lambda size: _stack(inputs, size, layers, num_classes, dropout), lstm)
        self.stack = _stack(inputs, size, layers, num_classes, dropout)

    def forward(self, sequence: Float[Tensor, "B t D"]) -> Float[Tensor, "B C"]:
        unread = self.steps - sequence.shape[1]
        return self.stack(functional.pad(sequence, (0, 0, 0, unread)).flatten(1))


def _stack(inputs: int, size: int, layers: int, outputs: int, dropout: float) -> nn.Sequential:
    modules: list[nn.Module] = []
    for before, after in pairwise([inputs, *[size] * layers]):
        modules += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*modules, nn.Linear(size, outputs))
