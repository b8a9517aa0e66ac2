"""The first k slots answer for the k objects, in the order that costs least."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from detector.matchers.hungarian import Hungarian, Pairs


class FirstK(Hungarian):
    """Bipartite matching of the k objects with the first k slots alone (the first-k loss of Stewart et al. 2016).

    Arguments as in `Hungarian`.
    """

    def assign(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        ground_truth: Float[Tensor, "N 4"],
    ) -> Pairs:
        return super().assign(logits[: len(ground_truth)], boxes[: len(ground_truth)], labels, ground_truth)
