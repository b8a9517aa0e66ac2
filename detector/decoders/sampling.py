"""Reading the pyramid under a box."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


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
    grid = places_in_boxes(boxes.detach(), points)
    sampled = []
    for features, stride in zip(pyramid, strides):
        rows, columns = features.shape[-2:]
        covered = grid.new_tensor([canvas[1] / (columns * stride), canvas[0] / (rows * stride)])
        values = F.grid_sample(
            features.float(), 2 * grid * covered - 1, mode="bilinear", padding_mode="border", align_corners=False
        )  # B D Q points²
        sampled.append(values.permute(0, 2, 3, 1).flatten(2))
    return torch.cat(sampled, -1)


def places_in_boxes(boxes: Float[Tensor, "B Q 4"], points: int) -> Float[Tensor, "B Q P 2"]:
    """The centres (x, y) of the `points` × `points` cells of each box, row by row; P = points²."""
    offsets = (torch.arange(points, device=boxes.device) + 0.5) / points
    low, high = boxes.split(2, -1)
    x = low[..., :1] + (high - low)[..., :1] * offsets  # B Q points
    y = low[..., 1:] + (high - low)[..., 1:] * offsets
    return torch.stack([
        x.unsqueeze(-2).expand(-1, -1, points, -1), y.unsqueeze(-1).expand(-1, -1, -1, points)
    ], -1).flatten(2, 3)
