"""Pointing at what to look at."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def pointer_loss(logits: Float[Tensor, "*S K"], correct: Bool[Tensor, "*S K"]) -> Float[Tensor, ""]:
    """Minus the logarithm of the probability of any correct choice, summed; several may be correct, or none.

    Args:
        logits: of K things to choose from; −inf for those that cannot be chosen.
        correct: which of them would be; where none is, there is no loss.
    """
    counted = correct.any(-1)
    chosen = logits[counted].masked_fill(~correct[counted], -torch.inf)
    return (logits[counted].logsumexp(-1) - chosen.logsumexp(-1)).sum()
