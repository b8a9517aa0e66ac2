"""How boxes lie to one another, and attention that depends on it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert


class PairwiseGeometry(nn.Module):
    """What is added to the attention logit of each slot to each other, a number a head, from how their boxes lie.

    After the relation module of Hu et al. 2018, whose equations 4 and 5 multiply the attention by a positive geometric
    weight: a summand of the logit is such a factor. It knows two things more than theirs: the IoU, if they are of one
    class, and which of the two comes first by score.

    Args:
        heads: of the attention.
    """

    def __init__(self, heads: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, heads))

    def forward(self, boxes: Float[Tensor, "B Q 4"], iou: Float[Tensor, "B Q Q"]) -> Float[Tensor, "B A Q Q"]:
        """The bias of A heads.

        Args:
            boxes: of the proposals, by descending score.
            iou: of each (rows) with those before it (columns); 0 for those of another class.
        """
        earlier = torch.ones_like(iou).tril(-1)
        numbers = torch.cat([relative_places(boxes), torch.stack([iou + iou.transpose(1, 2), earlier], -1)], -1)
        return self.layers(numbers).movedim(3, 1)


def relative_places(boxes: Float[Tensor, "B Q 4"]) -> Float[Tensor, "B Q Q 4"]:
    """Where each box (columns) lies from each (rows): its centre in sides of the latter, and the logarithm of the ratio
    of their sides; −4 … 4."""
    centre, sides = box_convert(boxes, "xyxy", "cxcywh").split(2, -1)
    sides = sides.clamp(min=1e-4)
    offset = (centre.unsqueeze(1) - centre.unsqueeze(2)) / sides.unsqueeze(2)
    ratio = sides.log().unsqueeze(1) - sides.log().unsqueeze(2)
    return torch.cat([offset, ratio], -1).clamp(-4, 4)
