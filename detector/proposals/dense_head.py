"""The dense head: scores and a box at every location of every level, and the best of them as proposals."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from detector.errors import InputError
from detector.proposals.proposal_head import ProposalHead
from detector.types import Locations, Predictions


class DenseHead(ProposalHead):
    """One small convolutional head shared by all levels (after FCOS, Tian et al. 2019, section 3).

    A box is drawn as its centre, an offset from the location in cells, and the logarithm of its sides in cells (as in
    YOLOX, Ge et al. 2021, and unlike FCOS), so that an object that lies between all locations can be drawn too.

    Args:
        width: channels of the pyramid.
        strides: of its levels, in pixels of the canvas.
        num_classes: C.
        prior: the score every location starts with, so that the many empty ones do not swamp the first steps
            (focal loss, Lin et al. 2017, section 4.1).
        finest_stride, depth, nms_threshold: see `ProposalHead`.

    Raises:
        InputError: an option is out of range, or there is no level of `finest_stride`.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, finest_stride: int = 8, depth: int = 2,
        prior: float = 0.01, nms_threshold: float = 0.8,
    ):
        super().__init__(strides=strides, finest_stride=finest_stride, depth=depth, nms_threshold=nms_threshold)
        if not 0 < prior < 1:
            raise InputError(f"proposals.prior is {prior}; it must lie between 0 and 1, neither included")
        self.class_tower = self._tower(width, depth)
        self.box_tower = self._tower(width, depth)
        self.class_output = nn.Conv2d(width, num_classes, 3, padding=1)
        self.box_output = nn.Conv2d(width, 4, 3, padding=1)
        self.level_scales = nn.Parameter(torch.ones(len(self.strides)))
        nn.init.normal_(self.class_output.weight, std=0.01)
        nn.init.constant_(self.class_output.get_parameter("bias"), -math.log((1 - prior) / prior))
        nn.init.normal_(self.box_output.weight, std=0.01)
        with torch.no_grad():  # boxes start around their location, four cells wide
            self.box_output.get_parameter("bias").copy_(torch.tensor([0.0, 0.0, math.log(4.0), math.log(4.0)]))

    @staticmethod
    def _tower(width: int, depth: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(width // 8, width), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(
        self, pyramid: list[Float[Tensor, "B D _ _"]], canvas: tuple[int, int]
    ) -> tuple[Predictions, Locations]:
        """Score every location and draw a box from it.

        Args:
            pyramid: one map a level.
            canvas: (height, width) of the image in pixels.
        """
        pyramid = pyramid[-len(self.strides) :]
        locations = self.locations(pyramid, canvas)
        logits, drawn = [], []
        for level, features in enumerate(pyramid):
            logits.append(self.class_output(self.class_tower(features)).flatten(2).transpose(1, 2))
            raw = self.box_output(self.box_tower(features)).flatten(2).transpose(1, 2).float()
            drawn.append(raw * self.level_scales[level])
        offset, log_sides = torch.cat(drawn, 1).split(2, -1)
        centre = locations.centres + offset * locations.strides
        half = log_sides.clamp(max=8.0).exp() / 2 * locations.strides
        return Predictions(torch.cat(logits, 1).float(), torch.cat([centre - half, centre + half], -1)), locations
