"""A recurrent memory."""

from __future__ import annotations

import torch
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

    def go_on(
        self, read: Float[Tensor, "B S H"], memory: list[tuple[Tensor, ...]] | None
    ) -> tuple[Float[Tensor, "B S H"], list[tuple[Tensor, ...]]]:
        """Some steps of a list, equal to those of the whole list (but for dropout); the first are given no memory, the
        others what those before them returned. On a few steps quicker than `forward`."""
        if memory is None:
            nothing = torch.zeros_like(read[:, 0])
            memory = [(nothing, nothing)] * self.cell.num_layers
        after = []
        for state, weights in zip(memory, self.cell.all_weights):
            states = []
            for step in read.unbind(1):
                if isinstance(self.cell, nn.LSTM):
                    state = torch.lstm_cell(step, state, *weights)
                else:
                    state = (torch.gru_cell(step, state[0], *weights),)
                states.append(state[0])
            read = torch.stack(states, 1)
            after.append(state)
        return read, after
