"""The one-to-many loss of the dense head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from detector.types import Locations, Predictions, Target


class DenseLoss:
    """Class and GIoU loss of every location, each positive weighing as much as its class target.

    Both terms are divided by the sum of the batch's class targets (at least 1).

    Args:
        assigner: maps one image's `(logits, boxes, locations, target)` to positive locations, their objects and
            class targets; see `TaskAligned`.
        class_loss: see `detector.losses`.
        class_weight, giou_weight: of the two terms.
    """

    def __init__(self, *, assigner: Callable, class_loss: Callable, class_weight: float, giou_weight: float):
        self.assigner, self.class_loss = assigner, class_loss
        self.class_weight, self.giou_weight = class_weight, giou_weight

    def __call__(
        self, dense: Predictions, locations: Locations, targets: list[Target]
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms `dense_class` and `dense_giou`."""
        quality = torch.zeros_like(dense.logits)
        positive = torch.zeros_like(dense.logits, dtype=torch.bool)
        boxes, truth, weights = [], [], []
        for i, target in enumerate(targets):
            places, objects, scores = self.assigner(dense.logits[i].detach(), dense.boxes[i].detach(), locations, target)
            quality[i, places, target.labels[objects]] = scores.to(quality.dtype)
            positive[i, places, target.labels[objects]] = True
            boxes.append(dense.boxes[i, places])
            truth.append(target.boxes[objects])
            weights.append(scores)
        weight = torch.cat(weights)
        normaliser = weight.sum().clamp(min=1.0)
        giou = generalized_box_iou_loss(torch.cat(boxes), torch.cat(truth), reduction="none")
        return {
            "dense_class": self.class_weight * self.class_loss(dense.logits, quality, positive) / normaliser,
            "dense_giou": self.giou_weight * (giou * weight).sum() / normaliser,
        }
