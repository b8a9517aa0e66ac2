"""Varifocal class loss."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


class Varifocal:
    """Varifocal loss (Zhang et al. 2021, equation 2): a score is to be the IoU of its box.

    Positives weigh by their quality q, negatives by alpha · score^gamma.
    """

    def __init__(self, *, alpha: float = 0.75, gamma: float = 2.0):
        self.alpha, self.gamma = alpha, gamma

    def __call__(
        self, logits: Float[Tensor, "*S C"], quality: Float[Tensor, "*S C"], positive: Bool[Tensor, "*S C"]
    ) -> Float[Tensor, ""]:
        weight = quality.where(positive, self.alpha * logits.detach().sigmoid() ** self.gamma)
        return F.binary_cross_entropy_with_logits(logits, quality, weight=weight, reduction="sum")
