"""The one-to-many loss of the dense head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from detector.errors import InputError
from detector.losses.set_loss import normalisers
from detector.types import Locations, Predictions, Target


class DenseLoss:
    """Class and GIoU loss of every location.

    Both terms are divided by the sum of their weights over the batch (see `normalisers`): the class targets, and what
    each positive's GIoU weighs.

    Args:
        assigner: maps one image's `(logits, boxes, locations, target)` to positive locations, their objects, class
            targets and shares; see `TaskAligned`.
        class_loss: see `detector.losses`.
        class_weight, giou_weight: of the two terms.
        box_weight: what a positive's GIoU weighs. `quality`: as much as its class target, as in TOOD; `equal`: as much
            as its share in its object, so that objects whose boxes are still poor, tiny ones above all, learn as fast
            as others.
    """

    def __init__(
        self, *, assigner: Callable, class_loss: Callable, class_weight: float, giou_weight: float,
        box_weight: str = "quality",
    ):
        if box_weight not in ("quality", "equal"):
            raise InputError(f"loss.dense.box_weight is {box_weight!r}; there are quality, equal")
        self.box_weight = box_weight
        self.assigner, self.class_loss = assigner, class_loss
        self.class_weight, self.giou_weight = class_weight, giou_weight

    def __call__(
        self, dense: Predictions, locations: Locations, targets: list[Target]
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms `dense_class` and `dense_giou`."""
        quality = torch.zeros_like(dense.logits)
        positive = torch.zeros_like(dense.logits, dtype=torch.bool)
        boxes, ground_truth, scores, shares = [], [], [], []
        for i, target in enumerate(targets):
            places, objects, score, share = self.assigner(
                dense.logits[i].detach(), dense.boxes[i].detach(), locations, target
            )
            quality[i, places, target.labels[objects]] = score.to(quality.dtype)
            positive[i, places, target.labels[objects]] = True
            boxes.append(dense.boxes[i, places])
            ground_truth.append(target.boxes[objects])
            scores.append(score)
            shares.append(share)
        score = torch.cat(scores)
        weight = score if self.box_weight == "quality" else torch.cat(shares)
        giou = generalized_box_iou_loss(torch.cat(boxes), torch.cat(ground_truth), reduction="none")
        targeted, weighed = normalisers(score.sum(), weight.sum())
        return {
            "dense_class": self.class_weight * (self.class_loss(dense.logits, quality, positive) / targeted),
            "dense_giou": self.giou_weight * (giou * weight).sum() / weighed,
        }
