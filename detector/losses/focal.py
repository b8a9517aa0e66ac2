"""Focal class loss."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


class Focal:
    """Focal loss (Lin et al. 2017, equation 5): a score is to be 1 for what is there, whatever its box is like."""

    def __init__(self, *, alpha: float = 0.25, gamma: float = 2.0):
        self.alpha, self.gamma = alpha, gamma

    def __call__(
        self, logits: Float[Tensor, "*S C"], quality: Float[Tensor, "*S C"], positive: Bool[Tensor, "*S C"]
    ) -> Float[Tensor, ""]:
        return sigmoid_focal_loss(logits, positive.to(logits.dtype), self.alpha, self.gamma, reduction="sum")
