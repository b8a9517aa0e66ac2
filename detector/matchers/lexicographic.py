"""The matching of 2016: overlap first, then rank, then distance."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from detector.matchers.hungarian import Matcher, Pairs, least_cost

STEPS = 2**16
"""Distances are counted in steps of 1 / STEPS."""


class Lexicographic(Matcher):
    """Bipartite matching with the costs (o, r, d), compared in that order (Stewart et al. 2016, section 3).

    o is 1 where the centre of the slot's box lies outside the object, else 0; r is the rank of the slot; d is the L1
    distance of the boxes, normalised corner coordinates. Of all assignments, those of least Σ o are compared by Σ r,
    and those of them that are equal by Σ d. Classes play no part.
    """

    def assign(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        ground_truth: Float[Tensor, "N 4"],
    ) -> Pairs:
        return least_cost(self.cost(boxes, ground_truth))

    def cost(self, boxes: Float[Tensor, "Q 4"], ground_truth: Float[Tensor, "N 4"]) -> Int64[Tensor, "Q N"]:
        """One integer for (o, r, d), such that sums of them compare like the sums of the three.

        Raises:
            FloatingPointError: a box is not finite.
            OverflowError: more slots and objects than a double can count exactly (100 objects allow 10,000 slots).
        """
        if not boxes.isfinite().all():
            raise FloatingPointError
        pairs = min(len(boxes), len(ground_truth))
        centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).unsqueeze(1)
        outside = ((centres < ground_truth[:, :2]) | (centres > ground_truth[:, 2:])).any(-1).long()
        rank = torch.arange(len(boxes), device=boxes.device).unsqueeze(1)
        # a box beyond the canvas is as far away as any: the distance stays below what a rank weighs
        distance = (torch.cdist(boxes.double(), ground_truth.double(), p=1).clamp(max=4.0) * STEPS).round().long()
        rank_weight = 4 * STEPS * pairs + 1
        outside_weight = rank_weight * (len(boxes) * pairs + 1)
        if outside_weight * (pairs + 1) >= 2**53:  # the assignment is computed in doubles
            sizes = f"{len(boxes)} slots and {len(ground_truth)} objects"
            raise OverflowError(f"{sizes} are too many for the lexicographic matcher")
        return outside * outside_weight + rank * rank_weight + distance
