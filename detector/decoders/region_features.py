"""What a decoder sees of a box."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from detector.decoders.prediction_head import box_logits
from detector.types import Predictions, Scene


class RegionFeatures(nn.Module):
    """The features under a box, the box and its class scores, as one vector.

    Args:
        width, strides: of the pyramid.
        num_classes: C.
        hidden_size: H, of the vector.
        dropout: on the vector.
        points: features come from `points` × `points` places of every level.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, dropout: float, points: int
    ):
        super().__init__()
        self.strides, self.points = list(strides), points
        self.features = nn.Linear(len(strides) * points**2 * width, hidden_size)
        self.proposal = nn.Linear(4 + num_classes, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, scene: Scene, proposals: Predictions, hidden: Float[Tensor, "B Q H"] | None = None
    ) -> Float[Tensor, "B Q H"]:
        """The vector of every proposal; `hidden`, of the same proposals in the stage before, is added."""
        sampled = sample_under_boxes(
            scene.pyramid, proposals.boxes, strides=self.strides, canvas=scene.canvas, points=self.points
        )  # B Q F
        known = torch.cat([box_logits(proposals), proposals.logits.sigmoid()], -1)  # B Q 4+C
        features = self.features(sampled) + self.proposal(known)  # B Q H
        return self.dropout(self.norm(features if hidden is None else features + hidden).relu())


def sample_under_boxes(
    pyramid: list[Float[Tensor, "B D _ _"]],
    boxes: Float[Tensor, "B Q 4"],
    *,
    strides: list[int],
    canvas: tuple[int, int],
    points: int,
) -> Float[Tensor, "B Q F"]:
    """Features at a regular grid of `points` × `points` places in each box, bilinear, from every level.

    The places are the centres of the grid's cells. Gradients reach the pyramid, not the boxes.

    Args:
        pyramid: one map a level.
        boxes: `xyxy`, normalised to the canvas.
        strides: of the levels, in pixels of the canvas.
        canvas: (height, width) of the image in pixels.

    Returns:
        F = levels · points² · D values a box.
    """
    grid = points_in_boxes(boxes.detach(), points)  # B Q points² 2
    sampled = []
    for features, stride in zip(pyramid, strides):
        rows, columns = features.shape[-2:]
        covered = grid.new_tensor([canvas[1] / (columns * stride), canvas[0] / (rows * stride)])
        values = F.grid_sample(
            features.float(), 2 * grid * covered - 1, mode="bilinear", padding_mode="border", align_corners=False
        )  # B D Q points²
        sampled.append(values.permute(0, 2, 3, 1).flatten(2))
    return torch.cat(sampled, -1)


def points_in_boxes(boxes: Float[Tensor, "B Q 4"], points: int) -> Float[Tensor, "B Q P 2"]:
    """The centres (x, y) of the `points` × `points` cells of each box, row by row; P = points²."""
    offsets = (torch.arange(points, device=boxes.device) + 0.5) / points
    low, high = boxes.split(2, -1)
    x = low[..., :1] + (high - low)[..., :1] * offsets  # B Q points
    y = low[..., 1:] + (high - low)[..., 1:] * offsets
    return torch.stack([
        x.unsqueeze(-2).expand(-1, -1, points, -1), y.unsqueeze(-1).expand(-1, -1, -1, points)
    ], -1).flatten(2, 3)
