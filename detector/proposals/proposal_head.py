"""What proposal heads have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detector.errors import InputError
from detector.postprocess import suppress
from detector.types import Locations, Predictions, StagePredictions


class ProposalHead(nn.Module):
    """Where a head looks, and which of its boxes become proposals; a subclass has a `forward`.

    Args:
        strides: of the pyramid's levels, in pixels of the canvas.
        finest_stride: of the levels it looks at; finer ones are left to the decoder.
        depth: 3×3 convolutions before each output.
        nms_threshold: proposals are what non-maximum suppression at this IoU leaves, a high one: boxes that are all but
            equal look the same to a decoder (distinct queries, Zhang et al. 2023, section 3.2).

    Raises:
        InputError: an option is out of range, or there is no level of `finest_stride`.
    """

    def __init__(self, *, strides: list[int], finest_stride: int, depth: int, nms_threshold: float):
        super().__init__()
        if depth < 0:
            raise InputError(f"proposals.depth is {depth}; it must be at least 0")
        if not 0 <= nms_threshold <= 1:
            raise InputError(f"proposals.nms_threshold is {nms_threshold}; it must lie between 0 and 1")
        if finest_stride not in strides:
            raise InputError(f"proposals.finest_stride is {finest_stride}; the pyramid has strides {list(strides)}")
        self.strides = [stride for stride in strides if stride >= finest_stride]
        self.nms_threshold = nms_threshold

    def select(self, dense: Predictions, slots: int) -> StagePredictions:
        """The proposals, cut from the graph: by descending score, at most `slots`; the others are not valid."""
        return suppress(dense, threshold=self.nms_threshold, slots=slots)

    def locations(self, pyramid: list[Tensor], canvas: tuple[int, int]) -> Locations:
        """The centres of all cells of the levels it looks at, which `pyramid` holds and no others."""
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
