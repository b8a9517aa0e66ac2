"""A recurrent network that reads a sequence and names it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from detector.classification.models.sequence_classifier import SequenceClassifier
from detector.errors import InputError

DIRECTIONS = ("forward", "backward", "both")


class RecurrentClassifier(SequenceClassifier):
    """The state after the last step, through one linear layer.

    Args:
        network: `nn.LSTM` or `nn.GRU`.
        features: D.
        num_classes: C.
        hidden_size: H, of each layer.
        layers: one on top of the other.
        direction: `forward` reads from the first step on; `backward` from the last of what there is; `both` does both,
            each with a network of its own, and the linear layer sees the states of both.
        dropout: share of the states that is left out in training, between layers and before the linear layer.

    Raises:
        InputError: there is no such direction.
    """

    def __init__(
        self, network: type[nn.LSTM] | type[nn.GRU], *, features: int, num_classes: int, hidden_size: int, layers: int,
        direction: str = "forward", dropout: float = 0.0,
    ):
        super().__init__()
        if direction not in DIRECTIONS:
            raise InputError(f"model.direction is {direction!r}; it must be one of {', '.join(DIRECTIONS)}")
        self.direction = direction
        self.network = network(
            features, hidden_size, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0,
            bidirectional=direction == "both",
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size * (1 + (direction == "both")), num_classes)

    def forward(self, sequence: Float[Tensor, "B t D"]) -> Float[Tensor, "B C"]:
        states, _ = self.network(sequence.flip(1) if self.direction == "backward" else sequence)
        last = states[:, -1]
        if self.direction == "both":  # the network that goes backward ends at the first step
            last = last.clone()
            half = last.shape[-1] // 2
            last[:, half:] = states[:, 0, half:]
        return self.output(self.dropout(last))

    def beliefs(self, sequence: Float[Tensor, "B T D"]) -> Float[Tensor, "B T C"]:
        if self.direction != "forward":
            return super().beliefs(sequence)
        states, _ = self.network(sequence)  # none depends on a later step
        return self.output(self.dropout(states))
