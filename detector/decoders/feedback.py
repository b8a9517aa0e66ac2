"""What a slot is given of the predictions of earlier slots."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert

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
    def placed(boxes: Float[Tensor, "B Q 4"]) -> Float[Tensor, "B Q 6"]:
        """Boxes as `of` wants them: their centre, the logarithms of their sides, and the inverse of these."""
        centre, sides = box_convert(boxes, "xyxy", "cxcywh").split(2, -1)
        sides = sides.clamp(min=1e-4)
        return torch.cat([centre, sides.log(), 1 / sides], -1)

    @staticmethod
    def of(
        iou: Float[Tensor, "B S Q"], quality: Float[Tensor, "B Q"], novelty: Float[Tensor, "B Q"],
        places: Float[Tensor, "B Q 6"], segment: slice,
    ) -> Float[Tensor, "B S F"]:
        """The numbers that the slots of a segment are given.

        An earlier box covers a slot by the product of the IoU of their proposals, if they are of one class, and the
        score predicted for the earlier one. Given are the largest such product, the logarithm of one more than their
        sum, and, of the box that covers most, its IoU, its score, its centre from that of the slot's box in sides of
        the latter, and the logarithm of the ratio of their sides; 0 where nothing covers. And the sum of squared IoUs,
        each times the earlier one's novelty: by as much would soft-NMS lower the logarithm of the slot's score (Bodla
        et al. 2017, equation 3, σ = 1), were the new boxes alone to count.

        Args:
            iou: of the segment's slots with earlier ones; 0 with others and for those of another class.
            quality: the score of all slots' proposals.
            novelty: predicted for all slots; 0 for those still to come. Times the quality it is their score.
            places: `placed`, of all slots.
            segment: which slots are asked about.
        """
        scores = quality * novelty  # B Q
        covering = iou * scores.unsqueeze(1)  # B S Q
        most, which = covering.max(2, keepdim=True)  # B S 1
        own, theirs = places[:, segment], places.gather(1, which.expand(-1, -1, 6))  # B S 6
        offset, ratio = (theirs[..., :4] - own[..., :4]).split(2, -1)
        numbers = torch.cat([
            most, covering.sum(2, keepdim=True).log1p(), iou.gather(2, which), scores.unsqueeze(2).gather(1, which),
            (offset * own[..., 4:]).clamp(-4, 4), ratio.clamp(-4, 4),
            (iou**2 * novelty.unsqueeze(1)).sum(2, keepdim=True),
        ], -1)
        return numbers * (most > 0)
