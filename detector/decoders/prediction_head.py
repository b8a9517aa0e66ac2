"""What a decoder predicts from a hidden vector."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert

from detector.types import Predictions, StagePredictions


class PredictionHead(nn.Module):
    """Boxes and class scores as corrections of those of proposals.

    At the start of training the corrections are nearly zero: predictions are as good as what was proposed.

    Args:
        hidden_size: H.
        num_classes: C.
    """

    def __init__(self, *, hidden_size: int, num_classes: int):
        super().__init__()
        self.classes, self.box = (
            nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, size))
            for size in (num_classes, 4)
        )
        for output in (self.classes[-1], self.box[-1]):
            nn.init.normal_(output.get_parameter("weight"), std=1e-3)
            nn.init.zeros_(output.get_parameter("bias"))

    def forward(self, hidden: Float[Tensor, "B Q H"], proposals: Predictions) -> StagePredictions:
        """Correct every proposal."""
        boxes = (box_logits(proposals) + self.box(hidden).float()).sigmoid()
        logits = proposals.logits + self.classes(hidden).float()
        return StagePredictions(logits, box_convert(boxes, "cxcywh", "xyxy"))


def box_logits(predictions: Predictions) -> Float[Tensor, "B Q 4"]:
    """Boxes as the logits of their centre, width and height: the space in which they are corrected."""
    return torch.logit(box_convert(predictions.boxes, "xyxy", "cxcywh"), eps=1e-3)
