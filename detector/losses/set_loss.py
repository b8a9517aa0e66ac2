"""The loss of a decoder's stages."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as distributed
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torchvision.ops import box_iou

from detector.losses.stop import stop_loss
from detector.types import Assignment, StagePredictions, Target


class SetLoss:
    """Class, L1 and overlap loss of the matched slots; the others are background (DETR, section 3.1).

    Each stage is matched for itself. The class target of a slot is what the matcher says, or else the IoU of its box,
    for losses that look at it. All terms are divided by the number of objects in the batch (`normalisers`).

    In a one-to-many stage, slots that were not matched answer too, for the object they overlap most, if by
    `positive_iou`: they learn its box, the slots of an object sharing its weight, and its class. The class target of
    all is the IoU of their box, whatever the matcher says. So boxes and their quality are learnt from many examples, as
    in a box head that is trained on every proposal near an object (Cascade R-CNN, Cai and Vasconcelos 2018), and the
    last stage alone has to choose one.

    Args:
        matcher: maps `(StagePredictions, targets)` to an `Assignment` an image.
        class_loss: see `detector.losses`.
        overlap_loss: of paired boxes, `(boxes, ground_truth, reduction)`: one of torchvision's.
        class_weight, l1_weight, overlap_weight: of the three terms.
        stop_weight: of `stop_loss`, for decoders that end by themselves.
        positive_iou: 0 … 1; None: all stages are one-to-one.
    """

    def __init__(
        self, *, matcher: Callable, class_loss: Callable, overlap_loss: Callable, class_weight: float, l1_weight: float,
        overlap_weight: float, stop_weight: float = 1.0, positive_iou: float | None = None,
    ):
        self.matcher, self.class_loss, self.overlap_loss = matcher, class_loss, overlap_loss
        self.class_weight, self.l1_weight, self.overlap_weight = class_weight, l1_weight, overlap_weight
        self.stop_weight, self.positive_iou = stop_weight, positive_iou

    def __call__(self, stages: list[StagePredictions], targets: list[Target]) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms, summed over the stages: `class`, `l1`, `overlap`, and what else a decoder gives rise to.

        Without stages there are none.
        """
        total: dict[str, Tensor] = {}
        for one in stages:
            for name, term in self.one_stage(one, self.matcher(one, targets), targets).items():
                total[name] = total[name] + term if name in total else term
        return total

    def one_stage(
        self, predictions: StagePredictions, assignments: list[Assignment], targets: list[Target]
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of one stage under a given assignment."""
        logits, boxes = predictions.logits, predictions.boxes
        labels = torch.cat([target.labels for target in targets])
        ground_truth = torch.cat([target.boxes for target in targets])
        many = predictions.one_to_many and self.positive_iou is not None
        owners = _owners(boxes, assignments, targets, self.positive_iou if many else None)  # B Q
        image, slot = (owners >= 0).nonzero(as_tuple=True)  # P, of the P positive slots of all images
        owner = owners[image, slot]

        share = 1 / owner.bincount(minlength=len(labels))[owner].to(boxes.dtype)
        positives, answer = boxes[image, slot], ground_truth[owner]  # P 4
        l1 = (share * (positives - answer).abs().sum(1)).sum()
        overlap = (share * self.overlap_loss(positives, answer, reduction="none")).sum()

        quality, positive = torch.zeros_like(logits), torch.zeros_like(logits, dtype=torch.bool)
        quality[image, slot, labels[owner]] = box_iou(positives.detach(), answer).diagonal().to(logits.dtype)
        for of_image, assignment, target in zip(quality, assignments, targets):
            if assignment.quality is not None and not many:
                wanted = assignment.quality.to(logits.dtype)
                of_image[assignment.slots, target.labels[assignment.objects]] = wanted
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
        return {name: term / objects for name, term in terms.items()}


def _owners(
    boxes: Float[Tensor, "B Q 4"], assignments: list[Assignment], targets: list[Target],
    positive_iou: float | None = None,
) -> Int64[Tensor, "B Q"]:
    """The object each slot answers for, numbered over all images; -1 for none.

    With `positive_iou`, slots that were not matched answer for the object they overlap most, if by so much.
    """
    owners, before = torch.full_like(boxes[..., 0], -1, dtype=torch.int64), 0
    for mine, of_slots, assignment, target in zip(boxes, owners, assignments, targets):
        if positive_iou is not None and len(target.labels):
            iou, nearest = box_iou(mine.detach(), target.boxes).max(1)
            of_slots.copy_((before + nearest).where(iou >= positive_iou, -1))
        of_slots[assignment.slots] = before + assignment.objects
        before += len(target.labels)
    return owners


def trains_with_others() -> bool:
    """Whether gradients are averaged over processes; in validation, where some have more batches, they are not."""
    return distributed.is_available() and distributed.is_initialized() and torch.is_grad_enabled()


def normalisers(*sums: Shaped[Tensor, ""]) -> tuple[Shaped[Tensor, ""], ...]:
    """Sums over a batch, at least 1; with other processes the means of theirs, at least 1 over all of them together.
    The first is on the device of the loss."""
    least: float = 1
    if trains_with_others():
        together = torch.stack([one.to(sums[0].device, torch.float32) for one in sums])
        distributed.all_reduce(together)
        sums, least = (together / distributed.get_world_size()).unbind(), 1 / distributed.get_world_size()
    return tuple(one.clamp(min=least) for one in sums)


def keep_in_step(stages: int, device: torch.device) -> None:
    """Called by every process with the number of its losses: one without a batch, which has none, asks for
    `normalisers` as often as the others, so that they do not wait for it."""
    if trains_with_others():
        most = torch.tensor(stages, device=device)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        for _ in range(int(most) - stages):
            normalisers(*torch.zeros(2, device=device))
