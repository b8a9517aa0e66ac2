"""A recurrent memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
        self.goes_step_by_step = not bidirectional
        self.cell = cell(
            size, size // 2 if bidirectional else size, layers, batch_first=True,
            dropout=dropout if layers > 1 else 0.0, bidirectional=bidirectional,
        )

    def forward(self, read: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q H"]:
        return self.cell(read)[0]

    def step(
        self, read: Float[Tensor, "B H"], memory: list[tuple[Tensor, ...]] | None
    ) -> tuple[Float[Tensor, "B H"], list[tuple[Tensor, ...]]]:
        """One step by itself, equal to that of the whole list (but for dropout); the first is given no memory, each other
        what the one before returned. On short vectors quicker than a list of one step."""
        if memory is None:
            nothing = torch.zeros_like(read)
            memory = [(nothing, nothing)] * self.cell.num_layers
        after = []
        for (hidden, cell), weights in zip(memory, self.cell.all_weights):
            seen, known = F.linear(read, weights[0], weights[2]), F.linear(hidden, weights[1], weights[3])
            if isinstance(self.cell, nn.LSTM):
                enter, stay, new, leave = (seen + known).chunk(4, 1)
                cell = stay.sigmoid() * cell + enter.sigmoid() * new.tanh()
                hidden = leave.sigmoid() * cell.tanh()
            else:
                (reset, stay, new), (reset_known, stay_known, new_known) = seen.chunk(3, 1), known.chunk(3, 1)
                new = (new + (reset + reset_known).sigmoid() * new_known).tanh()
                hidden = new + (stay + stay_known).sigmoid() * (hidden - new)
            after.append((hidden, cell))
            read = hidden
        return read, after
