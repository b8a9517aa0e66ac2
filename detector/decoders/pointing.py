"""Pointing at what to look at next."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def point(
    logits: Float[Tensor, "B K"], correct: Bool[Tensor, "B K"] | None = None, sampling_rate: float = 0.0
) -> Int64[Tensor, "B"]:
    """The thing of the largest pointer logit; with teacher forcing, mostly among the correct ones, if there are any.

    Args:
        logits: of K things; −inf for those that cannot be chosen.
        correct: which of them a learner should choose.
        sampling_rate: how often its own choice stands all the same (scheduled sampling, Bengio et al. 2015).
    """
    if correct is not None:
        forced = correct.any(1) & (torch.rand(len(correct), device=correct.device) >= sampling_rate)
        logits = logits.masked_fill(forced.unsqueeze(1) & ~correct, -torch.inf)
    return logits.argmax(1)
