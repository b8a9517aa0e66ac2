"""How boxes lie to one another, as a bias of attention."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from detector.decoders.feedback import Feedback


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
        places = Feedback.placed(boxes)  # B Q 6: centre, logarithms of the sides, their inverse
        offset, ratio = (places.unsqueeze(1) - places.unsqueeze(2))[..., :4].split(2, -1)  # B Q Q 2: of the columns
        relative = (offset * places[..., None, 4:]).clamp(-4, 4), ratio.clamp(-4, 4)
        earlier = torch.ones_like(iou).tril(-1)
        numbers = torch.cat([*relative, torch.stack([iou + iou.transpose(1, 2), earlier], -1)], -1)
        return self.layers(numbers).movedim(3, 1)
