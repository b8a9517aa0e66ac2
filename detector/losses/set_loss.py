"""The one-to-one loss of a decoder's passes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_iou

from detector.losses.monotone import monotone_loss
from detector.losses.stop import stop_loss
from detector.types import Assignment, Predictions, Target


class SetLoss:
    """Class, L1 and overlap loss of the matched slots; the others are to score nothing (DETR, section 3.1).

    Each pass is matched for itself. All terms are divided by the number of objects in the batch (at least 1).

    With `near_iou`, slots that were not matched learn a box too: that of the object they overlap most, if by so much. The
    slots of an object share its weight in the box terms. Scores stay one-to-one; boxes learn from many more examples, as
    in a box head that is trained on every proposal near an object (Cascade R-CNN, Cai and Vasconcelos 2018).

    Args:
        matcher: maps `(Predictions, targets)` to an `Assignment` an image.
        class_loss: see `detector.losses`.
        overlap_loss: of paired boxes, `(boxes, truth, reduction)`: one of torchvision's.
        class_weight, l1_weight, overlap_weight: of the three terms.
        stop_weight: of `stop_loss`, for decoders that end by themselves.
        monotone_weight: of `monotone_loss`.
        near_iou: 0 … 1; None for boxes one-to-one.
    """

    def __init__(
        self, *, matcher: Callable, class_loss: Callable, overlap_loss: Callable, class_weight: float, l1_weight: float,
        overlap_weight: float, stop_weight: float = 1.0, monotone_weight: float = 0.0,
        near_iou: float | None = None,
    ):
        self.matcher, self.class_loss, self.overlap_loss = matcher, class_loss, overlap_loss
        self.class_weight, self.l1_weight, self.overlap_weight = class_weight, l1_weight, overlap_weight
        self.stop_weight, self.monotone_weight, self.near_iou = stop_weight, monotone_weight, near_iou

    def __call__(self, passes: list[Predictions], targets: list[Target]) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms, summed over the passes: `class`, `l1`, `overlap`, and what else a decoder gives rise to.

        Without passes there are none.
        """
        total: dict[str, Tensor] = {}
        for one in passes:
            for name, term in self.one_pass(one, self.matcher(one, targets), targets).items():
                total[name] = total[name] + term if name in total else term
        return total

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
        share = torch.ones_like(truth[:, 0])
        if self.near_iou is not None:
            boxes, truth, share = self._near(predictions.boxes, assignments, targets)
        terms = {
            "class": self.class_weight * self.class_loss(logits, quality, positive),
            "l1": self.l1_weight * (share * (boxes - truth).abs().sum(1)).sum(),
            "overlap": self.overlap_weight * (share * self.overlap_loss(boxes, truth, reduction="none")).sum(),
            **predictions.losses,
        }
        if predictions.stop is not None:
            terms["stop"] = self.stop_weight * stop_loss(predictions.stop, assignments)
        if self.monotone_weight:
            terms["monotone"] = self.monotone_weight * monotone_loss(predictions)
        return {name: term / objects for name, term in terms.items()}

    def _near(
        self, boxes: Float[Tensor, "B Q 4"], assignments: list[Assignment], targets: list[Target]
    ) -> tuple[Float[Tensor, "K 4"], Float[Tensor, "K 4"], Float[Tensor, "K"]]:
        """Boxes that are to learn, their truth, and the share of each in its object's weight."""
        near, truth, share = [], [], []
        for mine, assignment, target in zip(boxes, assignments, targets):
            if not len(target.labels):
                continue
            iou, owner = box_iou(mine.detach(), target.boxes).max(1)
            owner = owner.masked_fill(iou < self.near_iou, -1)
            owner[assignment.slots] = assignment.objects
            some = (owner >= 0).nonzero().squeeze(1)
            owner = owner[some]
            near.append(mine[some])
            truth.append(target.boxes[owner])
            share.append(1 / owner.bincount(minlength=len(target.labels))[owner].to(mine.dtype))
        nothing = boxes[0, :0]
        return torch.cat([nothing, *near]), torch.cat([nothing, *truth]), torch.cat([nothing[:, 0], *share])
