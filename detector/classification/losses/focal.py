"""Focal loss over classes that exclude each other."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional


class FocalLoss(nn.Module):
    """The mean of -(1 - p)^γ log p, p being the probability of the true class (Lin et al. 2017, equation 4).

    Args:
        gamma: γ; 0 is cross-entropy.
    """

    def __init__(self, *, gamma: float = 2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Float[Tensor, "B C"], labels: Int64[Tensor, "B"]) -> Float[Tensor, ""]:
        of_true = -functional.cross_entropy(logits, labels, reduction="none")
        return -((1 - of_true.exp()).clamp(min=1e-6) ** self.gamma * of_true).mean()
