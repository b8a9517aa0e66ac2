"""Matchability-aware class loss."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


class Matchability:
    """Matchability-aware loss (MAL; DEIM, Huang et al. 2025, equation 5): a score is to be q^γ for a box of IoU q.

    Unlike varifocal's, its positives weigh the same however poor their boxes are, so that poor matches are learnt
    from too; negatives weigh by score^γ.
    """

    def __init__(self, *, gamma: float = 1.5):
        self.gamma = gamma

    def __call__(
        self, logits: Float[Tensor, "*S C"], quality: Float[Tensor, "*S C"], positive: Bool[Tensor, "*S C"]
    ) -> Float[Tensor, ""]:
        weight = (logits.detach().sigmoid() ** self.gamma).masked_fill(positive, 1.0)
        return F.binary_cross_entropy_with_logits(logits, quality**self.gamma, weight=weight, reduction="sum")
