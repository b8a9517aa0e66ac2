"""The dense head: scores and a box at every location of every level, and the best of them as proposals."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from detector.errors import InputError
from detector.types import Locations, Predictions


class DenseHead(nn.Module):
    """One small convolutional head shared by all levels (after FCOS, Tian et al. 2019, section 3).

    A box is drawn as its centre, an offset from the location in cells, and the logarithm of its sides in cells (as in
    YOLOX, Ge et al. 2021, and unlike FCOS), so that an object that lies between all locations can be drawn too.

    Args:
        width: channels of the pyramid.
        strides: of its levels, in pixels of the canvas.
        num_classes: C.
        finest_stride: of the levels it looks at; finer ones are left to the decoder.
        depth: 3×3 convolutions before each of the two outputs.
        prior: the score every location starts with, so that the many empty ones do not swamp the first steps
            (focal loss, Lin et al. 2017, section 4.1).
        peak_window: side of the window in which a location must hold a class's largest score to be proposed, odd; 1
            proposes neighbours too.
        peak_levels: whether it must also hold the largest score of the cells of other levels over or under it, so that
            an object is not proposed once a level.
        off_peak: 0 … 1, the share of its score with which a location that is no maximum competes for a place among the
            proposals, so that objects of high scores are proposed several times; 0: it comes after all maxima.

    Raises:
        InputError: an option is out of range, or there is no level of `finest_stride`.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, finest_stride: int = 8, depth: int = 2,
        prior: float = 0.01, peak_window: int = 3, peak_levels: bool = False, off_peak: float = 0.0,
    ):
        super().__init__()
        for name, value, allowed, expected in (
            ("depth", depth, depth >= 0, "be at least 0"),
            ("prior", prior, 0 < prior < 1, "lie between 0 and 1, neither included"),
            ("peak_window", peak_window, peak_window > 0 and peak_window % 2, "be odd and at least 1"),
            ("off_peak", off_peak, 0 <= off_peak <= 1, "lie between 0 and 1"),
        ):
            if not allowed:
                raise InputError(f"proposals.{name} is {value}; it must {expected}")
        if finest_stride not in strides:
            raise InputError(f"proposals.finest_stride is {finest_stride}; the pyramid has strides {list(strides)}")
        self.strides = [stride for stride in strides if stride >= finest_stride]
        self.peak_window, self.peak_levels, self.off_peak = peak_window, peak_levels, off_peak
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
        locations = self._locations(pyramid, canvas)
        logits, drawn = [], []
        for level, features in enumerate(pyramid):
            logits.append(self.class_output(self.class_tower(features)).flatten(2).transpose(1, 2))
            raw = self.box_output(self.box_tower(features)).flatten(2).transpose(1, 2).float()
            drawn.append(raw * self.level_scales[level])
        offset, log_sides = torch.cat(drawn, 1).split(2, -1)
        centre = locations.centres + offset * locations.strides
        half = log_sides.clamp(max=8.0).exp() / 2 * locations.strides
        return Predictions(torch.cat(logits, 1).float(), torch.cat([centre - half, centre + half], -1)), locations

    @torch.no_grad()
    def select(self, dense: Predictions, locations: Locations, slots: int) -> Predictions:
        """The `slots` best local maxima over all levels by descending score, cut from the graph.

        A location counts with its best class among those whose score is the largest in its window; the other locations
        follow only where there are too few maxima, or compete with `off_peak` times their score. Boxes are clipped to
        the canvas.
        """
        scores = dense.logits.sigmoid()  # B L C
        levels = scores.split([rows * columns for rows, columns in locations.shapes], 1)
        grids = [level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(levels, locations.shapes)]  # B C h w
        peaks = []
        for grid in grids:
            largest = F.max_pool2d(grid, self.peak_window, stride=1, padding=self.peak_window // 2)
            for other in grids if self.peak_levels else ():
                resize = F.adaptive_max_pool2d if other.shape[-1] > grid.shape[-1] else F.interpolate
                largest = torch.maximum(largest, resize(other, grid.shape[-2:]))
            others = grid * self.off_peak if self.off_peak else grid - 1.0
            peaks.append(torch.where(grid == largest, grid, others).flatten(2).amax(1))  # B hw
        best = torch.cat(peaks, 1).topk(min(slots, scores.shape[1]), dim=1).indices  # B Q
        chosen = dense.gather(best)
        return Predictions(chosen.logits, chosen.boxes.clamp(0, 1))

    def _locations(self, pyramid: list[Tensor], canvas: tuple[int, int]) -> Locations:
        height, width = canvas
        shapes = [(features.shape[-2], features.shape[-1]) for features in pyramid]
        centres, strides = [], []
        for (rows, columns), stride in zip(shapes, self.strides):
            cell = torch.tensor([stride / width, stride / height], device=pyramid[0].device)
            y, x = torch.meshgrid(
                torch.arange(rows, device=cell.device) + 0.5, torch.arange(columns, device=cell.device) + 0.5,
                indexing="ij",
            )
            centres.append(torch.stack([x, y], -1).flatten(0, 1) * cell)
            strides.append(cell.expand(rows * columns, 2))
        return Locations(torch.cat(centres), torch.cat(strides), shapes)
