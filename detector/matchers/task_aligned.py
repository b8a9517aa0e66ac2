"""The dense head's one-to-many assignment."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

from detector.types import Locations, Target


class TaskAligned:
    """Task-aligned assignment (TOOD, Feng et al. 2021, equations 6 and 7).

    An object is given the `top` locations inside its box with the largest score^alpha · IoU^beta, a location to the
    object it overlaps most; an object too small to hold a location takes the nearest of each level. The class target
    of a location is that metric scaled so that its largest value for an object is the object's largest IoU.

    Args:
        top: locations an object.
        alpha, beta: exponents of the score and the IoU.
    """

    def __init__(self, *, top: int = 9, alpha: float = 1.0, beta: float = 6.0):
        self.top, self.alpha, self.beta = top, alpha, beta

    @torch.no_grad()
    def __call__(
        self, logits: Float[Tensor, "L C"], boxes: Float[Tensor, "L 4"], locations: Locations, target: Target
    ) -> tuple[Int64[Tensor, "P"], Int64[Tensor, "P"], Float[Tensor, "P"], Float[Tensor, "P"]]:
        """Assign one image.

        Returns:
            The P positive locations, the object of each, the class target of each (0 … 1), and the share of each in its
            object: the metric scaled so that its largest value for an object is 1; 1 for each where no box of an
            object's locations overlaps it yet.
        """
        if len(target.labels) == 0:
            empty = target.labels.new_empty(0)
            return empty, empty, boxes.new_empty(0), boxes.new_empty(0)
        iou = box_iou(target.boxes, boxes)  # N L
        metric = logits.sigmoid()[:, target.labels].T ** self.alpha * iou**self.beta
        inside = locations.inside(target.boxes)
        best = metric.masked_fill(~inside, -1.0).topk(min(self.top, metric.shape[1]), dim=1).indices
        assigned = torch.zeros_like(inside).scatter_(1, best, True) & inside
        owner = iou.masked_fill(~assigned, -1.0).argmax(0)
        places = assigned.any(0).nonzero().squeeze(1)
        objects = owner[places]
        mine = torch.zeros_like(metric)
        mine[objects, places] = metric[objects, places]
        largest_metric, largest_iou = mine.amax(1)[objects], (iou * (mine > 0)).amax(1)
        share = torch.where(largest_metric > 0, mine[objects, places] / largest_metric, 1.0)
        return places, objects, share * largest_iou[objects], share
