"""What a slot is given of the predictions of earlier slots."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

SIZE = 9
"""F: numbers a slot."""


class Feedback(nn.Module):
    """What earlier slots predicted, as a vector that is added to the region features.

    Args:
        hidden_size: H, of the vector.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(SIZE, 64), nn.ReLU(), nn.Linear(64, hidden_size))

    def forward(self, numbers: Float[Tensor, "B S F"]) -> Float[Tensor, "B S H"]:
        return self.layers(numbers)

    @staticmethod
    def of(
        iou: Float[Tensor, "B S Q"], relative: Float[Tensor, "B S Q 4"], quality: Float[Tensor, "B Q"],
        novelty: Float[Tensor, "B Q"],
    ) -> Float[Tensor, "B S F"]:
        """The numbers that some slots are given.

        An earlier box covers a slot by the product of the IoU of their proposals, if they are of one class, and the
        score predicted for the earlier one. Given are the largest such product, the logarithm of one more than their
        sum, and, of the box that covers most, its IoU, its score, and how it lies to the slot's (`relative_places`); 0
        where nothing covers. And the sum of squared IoUs, each times the earlier one's novelty: by as much would
        soft-NMS lower the logarithm of the slot's score (Bodla et al. 2017, equation 3, σ = 1), were new boxes alone to
        count.

        Args:
            iou: of S of the slots with earlier ones; 0 with others and for those of another class.
            relative: how the boxes of all slots lie to theirs.
            quality: the score of all slots' proposals.
            novelty: predicted for all slots; 0 for those still to come. Times the quality it is their score.
        """
        scores = quality * novelty  # B Q
        covering = iou * scores.unsqueeze(1)  # B S Q
        most, which = covering.max(2, keepdim=True)  # B S 1
        lies = relative.gather(2, which.unsqueeze(3).expand(-1, -1, -1, 4)).squeeze(2)  # B S 4
        numbers = torch.cat([
            most, covering.sum(2, keepdim=True).log1p(), iou.gather(2, which), scores.unsqueeze(2).gather(1, which),
            lies, (iou**2 * novelty.unsqueeze(1)).sum(2, keepdim=True),
        ], -1)
        return numbers * (most > 0)
