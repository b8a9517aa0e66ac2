"""A decoder without memory: what every claim about memory must beat."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from detector.decoders.list_reader import ListReader


class MLP(ListReader):
    """Reads every proposal by itself, with as many parameters as the LSTM of the same size.

    Args:
        hidden_size: H, of what is read.
        layers: of two linear maps each, over 4 H units: 8 H² weights, as in a layer of an LSTM.
        dropout: on what is read and within layers.
        reading: further arguments of `ListReader`.
    """

    def __init__(self, *, hidden_size: int, layers: int, dropout: float, **reading):
        def memory() -> nn.Module:
            return NoMemory(*(FeedForward(hidden_size, dropout) for _ in range(layers)))

        super().__init__(memory=memory, hidden_size=hidden_size, dropout=dropout, **reading)


class NoMemory(nn.Sequential):
    """Layers in the place of a memory. Step by step they know of earlier steps what they are told, and nothing else."""

    goes_step_by_step = True

    def go_on(self, read: Float[Tensor, "B S H"], memory: None) -> tuple[Float[Tensor, "B S H"], None]:
        return self(read), None


class FeedForward(nn.Module):
    """One layer, with a residual connection."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.layer = nn.Sequential(
            nn.Linear(size, 4 * size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * size, size)
        )

    def forward(self, read: Float[Tensor, "*S H"]) -> Float[Tensor, "*S H"]:
        return read + self.layer(read)
