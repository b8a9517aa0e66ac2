"""The contract of every model that names a sequence."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SequenceClassifier(nn.Module):
    """Makes class logits of a sequence, of one that is cut short too. A model is a subclass with a method `forward`.

    In shapes: B images, T steps of the whole sequence, t of one that may be cut short, D features a step, C classes.
    """

    def forward(self, sequence: Float[Tensor, "B t D"]) -> Float[Tensor, "B C"]:
        """The logits after the last step."""
        raise NotImplementedError

    def beliefs(self, sequence: Float[Tensor, "B T D"]) -> Float[Tensor, "B T C"]:
        """The logits if reading stopped at each step."""
        return torch.stack([self(sequence[:, : step + 1]) for step in range(sequence.shape[1])], 1)
