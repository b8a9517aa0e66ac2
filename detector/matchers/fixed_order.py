"""No matching: the first slot answers for the first object, and so on."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from detector.errors import InputError
from detector.matchers.hungarian import Matcher, Pairs


class FixedOrder(Matcher):
    """Slots and sorted objects are paired one by one (the fixed-order loss of Stewart et al. 2016, section 3).

    Args:
        by: `position`, from left to right; or `size`, from the largest to the smallest area.
    """

    def __init__(self, *, by: str = "position"):
        if by not in ("position", "size"):
            raise InputError(f"matcher.by is {by!r}; there are position, size")
        self.by = by

    def assign(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        ground_truth: Float[Tensor, "N 4"],
    ) -> Pairs:
        if not boxes.isfinite().all():
            raise FloatingPointError
        low, high = ground_truth.split(2, -1)
        key = (low + high)[:, 0] if self.by == "position" else -(high - low).prod(-1)
        pairs = min(len(boxes), len(ground_truth))
        return torch.arange(pairs, device=boxes.device), key.argsort(stable=True)[:pairs]
