"""The recurrent networks of the sequence decoders."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Recurrence(nn.Module):
    """`torch.nn.LSTM` or `torch.nn.GRU`, over a whole list or a few slots at a time.

    Args:
        cell: one of those classes.
        size: H, of input and output.
        layers: stacked.
        dropout: between layers.
    """

    causal = True

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], *, size: int, layers: int, dropout: float):
        super().__init__()
        self.cell = cell(size, size, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, features: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q H"]:
        return self.cell(features)[0]

    def step(
        self, features: Float[Tensor, "B S H"], state: list[tuple[Tensor, ...]] | None
    ) -> tuple[Float[Tensor, "B S H"], list[tuple[Tensor, ...]]]:
        """The next S slots of a list, equal to those of the whole list (but for dropout), and the recurrent state after
        them; the first are given none. On a few slots quicker than `forward`."""
        if state is None:
            zeros = torch.zeros_like(features[:, 0])  # B H
            state = [(zeros, zeros)] * self.cell.num_layers
        after = []
        for of_layer, weights in zip(state, self.cell.all_weights):
            outputs = []
            for slot in features.unbind(1):  # B H
                if isinstance(self.cell, nn.LSTM):
                    of_layer = torch.lstm_cell(slot, of_layer, *weights)
                else:
                    of_layer = (torch.gru_cell(slot, of_layer[0], *weights),)
                outputs.append(of_layer[0])
            features = torch.stack(outputs, 1)  # B S H
            after.append(of_layer)
        return features, after
