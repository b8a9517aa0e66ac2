"""A recurrent memory."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class Recurrence(nn.Module):
    """`torch.nn.LSTM` or `torch.nn.GRU` over the steps of a list.

    Args:
        cell: one of those classes.
        size: H, of input and output; each direction of a bidirectional one has half of it.
        layers: stacked.
        dropout: between layers.
        bidirectional: whether a step also knows those after it.
    """

    def __init__(self, cell: type[nn.RNNBase], *, size: int, layers: int, dropout: float, bidirectional: bool):
        super().__init__()
        self.cell = cell(
            size, size // 2 if bidirectional else size, layers, batch_first=True,
            dropout=dropout if layers > 1 else 0.0, bidirectional=bidirectional,
        )

    def forward(self, read: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q H"]:
        return self.cell(read)[0]
