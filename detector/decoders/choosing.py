"""Choosing what to look at next."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def choose(
    liking: Float[Tensor, "B K"], right: Bool[Tensor, "B K"] | None = None, explore: float = 0.0
) -> Int64[Tensor, "B"]:
    """What is liked best; where `right` is given, mostly among what is right, if anything is.

    Args:
        liking: of K things; −inf for those that cannot be chosen.
        right: which of them a learner should choose.
        explore: how often it goes its own way all the same.
    """
    if right is not None:
        led = right.any(1) & (torch.rand(len(right), device=right.device) >= explore)
        liking = liking.masked_fill(led.unsqueeze(1) & ~right, -torch.inf)
    return liking.argmax(1)
