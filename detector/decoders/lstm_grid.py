"""The decoder of 2016: an LSTM for every cell of a coarse grid."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchvision.ops import box_convert, box_iou

from detector.decoders.prediction_head import PredictionHead
from detector.decoders.region_features import RegionFeatures, points_in_boxes
from detector.errors import InputError
from detector.types import Predictions, Scene, StagePredictions, Target


class LSTMGrid(nn.Module):
    """In each cell of a grid an LSTM, its weights shared, predicts a few boxes around the cell, by descending score
    (Stewart, Andriluka, Ng 2016, section 3), from the same features at every step: those of all levels over an area of
    two cells a side.

    Each box is then corrected by the region features under it ("rezoom" in the authors' published code).

    Args:
        width, strides: of the pyramid.
        num_classes: C.
        hidden_size: H.
        dropout: on region features.
        boxes_per_cell: steps of each LSTM.
        cells: how they are joined. `stitch`: a cell answers for the objects centred in it, and boxes that two cells
            predict for one object are joined at inference (section 3.3); `global`: all cells answer for all objects
            together, and nothing is joined.
        stitch_above: IoU from which two boxes of a class can be one object.
        cell_stride: side of a cell in pixels of the canvas, the stride of a level.
        cell_points: a cell's features come from `cell_points` × `cell_points` places of every level.
        points: a box's from `points` × `points`.
        prior_score: of every class, before anything is learnt.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, dropout: float,
        boxes_per_cell: int, cells: str, stitch_above: float, cell_stride: int, cell_points: int, points: int,
        prior_score: float = 0.05,
    ):
        super().__init__()
        if cells not in ("stitch", "global"):
            raise InputError(f"decoder.cells is {cells!r}; there are stitch, global")
        if cell_stride not in strides:
            known = ", ".join(map(str, strides))
            raise InputError(f"decoder.cell_stride is {cell_stride}; the pyramid has strides {known}")
        self.proposals, self.slots = 0, None  # as many as the grid has room for
        self.cells, self.boxes_per_cell, self.stitch_above = cells, boxes_per_cell, stitch_above
        self.stride, self.level = cell_stride, strides.index(cell_stride)
        self.num_classes = num_classes
        self.prior_logit = torch.logit(torch.tensor(prior_score)).item()
        shared: dict = {"width": width, "strides": strides, "num_classes": num_classes, "hidden_size": hidden_size,
                  "dropout": dropout}
        head = {"hidden_size": hidden_size, "num_classes": num_classes}
        self.region_features = RegionFeatures(**shared, points=cell_points)
        self.lstm = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.prediction_head = PredictionHead(**head)
        self.rezoom_features = RegionFeatures(**shared, points=points)
        self.rezoom_head = PredictionHead(**head)

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[StagePredictions]:
        images, _, rows, columns = scene.pyramid[self.level].shape
        cells = self._cells(rows, columns, scene)  # R 4, of the R cells
        area = Predictions(
            cells.new_full((images, len(cells), self.num_classes), self.prior_logit), cells.expand(images, -1, -1)
        )
        features = self.region_features(scene, area).flatten(0, 1)  # B·R H
        features = features.unsqueeze(1).expand(-1, self.boxes_per_cell, -1)  # the same at every step
        hidden = self.lstm(features)[0].reshape(images, -1, features.shape[-1])  # B Q H, Q = R · boxes_per_cell
        of_slot = torch.arange(len(cells), device=cells.device).repeat_interleave(self.boxes_per_cell)
        start = area.gather(of_slot.expand(images, -1))
        first = self.prediction_head(hidden, start)
        last = self.rezoom_head(self.rezoom_features(scene, first.detach(), hidden), first.detach())
        last.sampled_points = points_in_boxes(start.boxes, self.region_features.points)
        if self.cells == "stitch":
            first.regions = last.regions = self._regions(rows, columns, scene)[of_slot]
            if not self.training:
                last.valid = torch.stack([
                    stitch(logits, boxes, self.boxes_per_cell, self.stitch_above)
                    for logits, boxes in zip(last.logits, last.boxes)
                ])
        return [first, last]

    def _cells(self, rows: int, columns: int, scene: Scene) -> Float[Tensor, "R 4"]:
        """A box of two cells a side around every cell's centre."""
        height, width = scene.canvas
        side = torch.tensor([self.stride / width, self.stride / height], device=scene.pyramid[0].device)
        y, x = torch.meshgrid(
            torch.arange(rows, device=side.device) + 0.5, torch.arange(columns, device=side.device) + 0.5, indexing="ij"
        )
        centres = torch.stack([x, y], -1).flatten(0, 1) * side
        return box_convert(torch.cat([centres, 2 * side.expand_as(centres)], 1), "cxcywh", "xyxy")

    def _regions(self, rows: int, columns: int, scene: Scene) -> Float[Tensor, "R 4"]:
        """The part of the canvas that belongs to each cell; those on its right and lower border reach beyond it.

        Neighbours share the very same number as their border, so that a centre on it lies in one of them.
        """
        edges = []
        for count, size in ((rows, scene.canvas[0]), (columns, scene.canvas[1])):
            edge = torch.arange(count + 1, device=scene.pyramid[0].device) * self.stride / size
            edges.append(torch.cat([edge[:-1], edge.new_full((1,), 2.0)]))
        top, left = torch.meshgrid(edges[0][:-1], edges[1][:-1], indexing="ij")
        bottom, right = torch.meshgrid(edges[0][1:], edges[1][1:], indexing="ij")
        return torch.stack([left, top, right, bottom], -1).flatten(0, 1)


@torch.no_grad()
def stitch(
    logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], boxes_per_cell: int, iou_above: float
) -> Bool[Tensor, "Q"]:
    """Which boxes stay, cell after cell: the boxes of a cell and those accepted before are paired one-to-one, at the
    largest total overlap, where they are of one class and overlap enough; of a pair the one of higher score
    stays.

    Since a box can remove one other at most, two that a cell predicts for two close objects survive next to its
    neighbour's.
    """
    scores, labels = (values.cpu() for values in logits.sigmoid().max(-1))
    overlap = box_iou(boxes, boxes).cpu() * (labels[:, None] == labels[None])
    overlap = (overlap * (overlap > iou_above)).numpy()
    accepted: list[int] = []
    for first in range(0, len(scores), boxes_per_cell):
        cell = list(range(first, min(first + boxes_per_cell, len(scores))))
        among = overlap[cell][:, accepted]
        for new, old in zip(*linear_sum_assignment(among, maximize=True)):
            if among[new, old] > 0:
                a, b = first + int(new), accepted[old]
                if scores[a] > scores[b]:
                    accepted[old] = a
                cell.remove(a)
        accepted += cell
    stays = torch.zeros(len(scores), dtype=torch.bool, device=boxes.device)
    stays[accepted] = True
    return stays
