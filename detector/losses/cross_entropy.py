"""Cross-entropy class loss."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


class CrossEntropy:
    """Binary cross-entropy of every class by itself: a score is to be 1 for what is there, whatever its box is like.

    Args:
        negative_weight: of places and classes of background; there are many more of them.
    """

    def __init__(self, *, negative_weight: float = 1.0):
        self.negative_weight = negative_weight

    def __call__(
        self, logits: Float[Tensor, "*S C"], quality: Float[Tensor, "*S C"], positive: Bool[Tensor, "*S C"]
    ) -> Float[Tensor, ""]:
        target = positive.to(logits.dtype)
        weight = target + self.negative_weight * (1 - target)
        return F.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="sum")
