"""The one-to-one loss of a decoder's passes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

from detector.types import Assignment, Predictions, Target


class SetLoss:
    """Class, L1 and GIoU loss of the matched slots; the others are to score nothing (DETR, section 3.1).

    Each pass is matched for itself. All terms are divided by the number of objects in the batch (at least 1).

    Args:
        matcher: maps `(Predictions, targets)` to an `Assignment` an image.
        class_loss: see `detector.losses`.
        class_weight, l1_weight, giou_weight: of the three terms.
    """

    def __init__(
        self, *, matcher: Callable, class_loss: Callable, class_weight: float, l1_weight: float, giou_weight: float
    ):
        self.matcher, self.class_loss = matcher, class_loss
        self.class_weight, self.l1_weight, self.giou_weight = class_weight, l1_weight, giou_weight

    def __call__(self, passes: list[Predictions], targets: list[Target]) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms, summed over the passes: `class`, `l1`, `giou`."""
        terms = [self.one_pass(one, self.matcher(one, targets), targets) for one in passes]
        return {name: torch.stack([term[name] for term in terms]).sum() for name in terms[0]}

    def one_pass(
        self, predictions: Predictions, assignments: list[Assignment], targets: list[Target]
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of one pass under a given assignment."""
        logits = predictions.logits
        image = torch.cat([torch.full_like(a.slots, i) for i, a in enumerate(assignments)])
        slots = torch.cat([a.slots for a in assignments])
        labels = torch.cat([t.labels[a.objects] for t, a in zip(targets, assignments)])
        truth = torch.cat([t.boxes[a.objects] for t, a in zip(targets, assignments)])
        boxes = predictions.boxes[image, slots]
        objects = max(1, sum(len(target.labels) for target in targets))

        quality = torch.zeros_like(logits)
        quality[image, slots, labels] = box_iou(boxes.detach(), truth).diagonal().to(logits.dtype)
        positive = torch.zeros_like(logits, dtype=torch.bool)
        positive[image, slots, labels] = True
        return {
            "class": self.class_weight * self.class_loss(logits, quality, positive) / objects,
            "l1": self.l1_weight * (boxes - truth).abs().sum() / objects,
            "giou": self.giou_weight * generalized_box_iou_loss(boxes, truth, reduction="sum") / objects,
        }
