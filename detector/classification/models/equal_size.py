"""Models of equal numbers of parameters, so that a comparison is not one of sizes."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

log = logging.getLogger(__name__)


def equal_size(make: Callable[[int], nn.Module], like: Callable[[], nn.Module]) -> int:
    """The hidden size at which a model has as many parameters as another, or as near to it as can be.

    Args:
        make: the model of a hidden size; its number of parameters must grow with that.
        like: the other.
    """
    wanted = _parameters(like)
    high = 1
    while _parameters(make, high) < wanted:
        high *= 2
    larger = bisect_left(range(high), wanted, lo=max(1, high // 2), key=partial(_parameters, make))
    size = min((size for size in (larger - 1, larger) if size), key=lambda size: abs(_parameters(make, size) - wanted))
    found = _parameters(make, size)
    if abs(found - wanted) > 0.05 * wanted:
        log.warning(
            "%d parameters, with a hidden size of %d, is as near as this model comes to the %d it is to have; a larger "
            "model.hidden_size brings them nearer", found, size, wanted,
        )
    return size


def _parameters(make: Callable[..., nn.Module], *sizes: int) -> int:
    with torch.device("meta"):  # nothing is allocated, no random number drawn
        return sum(parameter.numel() for parameter in make(*sizes).parameters())
