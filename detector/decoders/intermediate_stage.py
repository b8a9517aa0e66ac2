"""The stage that refines proposals, each by itself, before a sequence goes through them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert

from detector.decoders.feed_forward import FeedForward
from detector.decoders.region_features import RegionFeatures, sample_under_boxes
from detector.types import Predictions, Scene, StagePredictions

WINDOW = 7
"""Places a side."""
MARGIN = 1.3
"""Sides of the window over those of the box: its edges are seen from both sides."""
CHANNELS = 64


class IntermediateStage(nn.Module):
    """Corrects the box and the class scores of every proposal by itself, all at once, one-to-many: a second stage as in
    Cascade R-CNN (Cai and Vasconcelos 2018).

    Besides region features, it looks through a small convolutional network at a window of the finest level, the box
    and what lies around it. At the start of training the corrections are nearly zero.

    Args:
        width, strides, num_classes, hidden_size, dropout, points: as in `SequenceDecoder`.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, dropout: float, points: int
    ):
        super().__init__()
        self.finest = strides[0]
        self.region_features = RegionFeatures(
            width=width, strides=strides, num_classes=num_classes, hidden_size=hidden_size, dropout=dropout,
            points=points,
        )
        self.window = nn.Sequential(
            nn.Conv2d(width, CHANNELS, 3), nn.GroupNorm(8, CHANNELS), nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3), nn.GroupNorm(8, CHANNELS), nn.ReLU(),
            nn.Flatten(1), nn.Linear(CHANNELS * (WINDOW - 4) ** 2, hidden_size),
        )
        self.feed_forward = FeedForward(hidden_size, dropout)
        self.norm = nn.LayerNorm(hidden_size)
        self.classes, self.box = (
            nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, size))
            for size in (num_classes, 4)
        )
        for output in (self.classes[-1], self.box[-1]):
            nn.init.normal_(output.get_parameter("weight"), std=1e-3)
            nn.init.zeros_(output.get_parameter("bias"))

    def forward(self, scene: Scene, proposals: StagePredictions) -> tuple[StagePredictions, Float[Tensor, "B Q H"]]:
        """The predictions for proposals, and the hidden vector of each."""
        features = self.region_features(scene, proposals) + self._seen_around(scene, proposals.boxes)
        hidden = self.norm(self.feed_forward(features))
        centre, sides = box_convert(proposals.boxes, "xyxy", "cxcywh").split(2, -1)
        offset, ratio = self.box(hidden).float().split(2, -1)
        boxes = torch.cat([centre + offset * sides, sides * ratio.clamp(-2, 2).exp()], -1)
        logits = proposals.logits + self.classes(hidden).float()
        if proposals.valid is not None:
            logits = logits.where(proposals.valid.unsqueeze(2), proposals.logits)
        return StagePredictions(
            logits, box_convert(boxes, "cxcywh", "xyxy"), one_to_many=True, valid=proposals.valid
        ), hidden

    def _seen_around(self, scene: Scene, boxes: Float[Tensor, "B Q 4"]) -> Float[Tensor, "B Q H"]:
        centre, sides = box_convert(boxes, "xyxy", "cxcywh").split(2, -1)
        around = box_convert(torch.cat([centre, MARGIN * sides], -1), "cxcywh", "xyxy")
        values = sample_under_boxes(
            scene.pyramid[:1], around, strides=[self.finest], canvas=scene.canvas, points=WINDOW
        )  # B Q F
        windows = values.unflatten(2, (WINDOW, WINDOW, -1)).flatten(0, 1).permute(0, 3, 1, 2)
        return self.window(windows).unflatten(0, boxes.shape[:2])


def averaged(refined: StagePredictions, proposals: Predictions) -> StagePredictions:
    """The refined boxes with scores between the stage's and those that it was given, the mean of their logits: as
    Cascade R-CNN averages over its stages in a test. They rank better than either."""
    return StagePredictions((refined.logits + proposals.logits) / 2, refined.boxes, valid=refined.valid)
