"""The one-to-many loss of the dense head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from detector.types import Locations, Predictions, Target


class DenseLoss:
    """Class and GIoU loss of every location.

    The class term is divided by the sum of the batch's class targets. The GIoU of a positive weighs as much as its share
    in its object, and is divided by the sum of shares: unlike in TOOD, where it weighs as much as the class target,
    objects whose boxes are still poor, tiny ones above all, learn as fast as others. Both sums are at least 1.

    Args:
        assigner: maps one image's `(logits, boxes, locations, target)` to positive locations, their objects, class
            targets and shares; see `TaskAligned`.
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
        boxes, truth, scores, shares = [], [], [], []
        for i, target in enumerate(targets):
            places, objects, score, share = self.assigner(
                dense.logits[i].detach(), dense.boxes[i].detach(), locations, target
            )
            quality[i, places, target.labels[objects]] = score.to(quality.dtype)
            positive[i, places, target.labels[objects]] = True
            boxes.append(dense.boxes[i, places])
            truth.append(target.boxes[objects])
            scores.append(score)
            shares.append(share)
        share = torch.cat(shares)
        giou = generalized_box_iou_loss(torch.cat(boxes), torch.cat(truth), reduction="none")
        class_loss = self.class_loss(dense.logits, quality, positive) / torch.cat(scores).sum().clamp(min=1.0)
        return {
            "dense_class": self.class_weight * class_loss,
            "dense_giou": self.giou_weight * (giou * share).sum() / share.sum().clamp(min=1.0),
        }
