"""Choosing what to look at."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def choice_loss(logits: Float[Tensor, "*S K"], right: Bool[Tensor, "*S K"]) -> Float[Tensor, ""]:
    """Minus the logarithm of the probability given to any of the right ones, summed; several may be right, or none.

    Args:
        logits: of K things to choose from; −inf for those that cannot be chosen.
        right: which of them would be right; where none is, there is no loss.
    """
    counted = right.any(-1)
    chosen = logits[counted].masked_fill(~right[counted], -torch.inf)
    return (logits[counted].logsumexp(-1) - chosen.logsumexp(-1)).sum()
