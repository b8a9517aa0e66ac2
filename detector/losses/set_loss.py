"""The one-to-one loss of a decoder's passes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

from detector.losses.monotone import monotone_loss
from detector.losses.normaliser import normalisers
from detector.losses.stop import stop_loss
from detector.types import Assignment, Predictions, Target


class SetLoss:
    """Class, L1 and overlap loss of the matched slots; the others are to score nothing (DETR, section 3.1).

    Each pass is matched for itself. All terms are divided by the number of objects in the batch (`normalisers`).

    In a draft, slots that were not matched answer too, for the object they overlap most, if by `near_iou`: they learn its
    box, the slots of an object sharing its weight, and its class, as sure as their box is good. So boxes and their quality
    are learnt from many examples, as in a box head that is trained on every proposal near an object (Cascade R-CNN, Cai
    and Vasconcelos 2018), and the last pass alone has to choose one of them.

    Args:
        matcher: maps `(Predictions, targets)` to an `Assignment` an image.
        class_loss: see `detector.losses`.
        overlap_loss: of paired boxes, `(boxes, truth, reduction)`: one of torchvision's.
        class_weight, l1_weight, overlap_weight: of the three terms.
        stop_weight: of `stop_loss`, for decoders that end by themselves.
        monotone_weight: of `monotone_loss`.
        near_iou: 0 … 1; None: drafts are one-to-one too.
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
        logits, boxes = predictions.logits, predictions.boxes
        labels = torch.cat([target.labels for target in targets])
        truth = torch.cat([target.boxes for target in targets])
        many = predictions.draft and self.near_iou is not None
        owners = _owners(boxes, assignments, targets, self.near_iou if many else None)
        image, slot = (owners >= 0).nonzero(as_tuple=True)
        owner = owners[image, slot]

        share = 1 / owner.bincount(minlength=len(labels))[owner].to(boxes.dtype)
        learning, answer = boxes[image, slot], truth[owner]
        l1 = (share * (learning - answer).abs().sum(1)).sum()
        overlap = (share * self.overlap_loss(learning, answer, reduction="none")).sum()

        quality, positive = torch.zeros_like(logits), torch.zeros_like(logits, dtype=torch.bool)
        iou = box_iou(learning.detach(), answer).diagonal()
        quality[image, slot, labels[owner]] = iou.to(logits.dtype)
        positive[image, slot, labels[owner]] = True
        scores = self.class_loss(logits, quality, positive)
        certain, objects = normalisers(quality.sum(), torch.tensor(len(labels)))
        if many:
            scores = scores * objects / certain
        terms = {
            "class": self.class_weight * scores, "l1": self.l1_weight * l1, "overlap": self.overlap_weight * overlap,
            **predictions.losses,
        }
        if predictions.stop is not None:
            terms["stop"] = self.stop_weight * stop_loss(predictions.stop, assignments)
        if self.monotone_weight:
            terms["monotone"] = self.monotone_weight * monotone_loss(predictions)
        return {name: term / objects for name, term in terms.items()}


def _owners(
    boxes: Float[Tensor, "B Q 4"], assignments: list[Assignment], targets: list[Target], near_iou: float | None = None
) -> Int64[Tensor, "B Q"]:
    """The object each slot answers for, numbered over all images; -1 for none.

    With `near_iou`, slots that were not matched answer for the object they overlap most, if by so much.
    """
    owners, before = torch.full_like(boxes[..., 0], -1, dtype=torch.int64), 0
    for mine, of_slots, assignment, target in zip(boxes, owners, assignments, targets):
        if near_iou is not None and len(target.labels):
            iou, nearest = box_iou(mine.detach(), target.boxes).max(1)
            of_slots.copy_((before + nearest).where(iou >= near_iou, -1))
        of_slots[assignment.slots] = before + assignment.objects
        before += len(target.labels)
    return owners
