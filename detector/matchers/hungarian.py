"""The one-to-one assignment of least cost, and what all matchers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

from detector.types import Assignment, StagePredictions, Target

Pairs = tuple[Tensor, ...]
"""The slots and the objects of M pairs; and their class targets, where these are not their IoUs."""


class Matcher(ABC):
    """Pairs slots and objects; a subclass says which in `assign`."""

    @torch.no_grad()
    def __call__(self, predictions: StagePredictions, targets: list[Target]) -> list[Assignment]:
        """Match every image by itself, and every region of it where the slots have regions.

        Post-condition: no slot twice; but for `Greedy`, no object twice and, for each image, or region with the objects
        centred in it, as many pairs as the smaller of valid slots and objects.

        Raises:
            FloatingPointError: a prediction or a cost is not finite; names the images.
        """
        assignments, diverged = [], []
        valid = torch.ones_like(predictions.boxes[..., 0]) if predictions.valid is None else predictions.valid  # B Q
        for logits, boxes, some, target in zip(predictions.logits.float(), predictions.boxes.float(), valid, targets):
            none = torch.empty(0, dtype=torch.int64, device=boxes.device)
            pairs = list[Pairs]()
            try:
                for own, there in _by_region(predictions.regions, some.nonzero().squeeze(1), target):
                    a, b, *rest = self.assign(logits[own], boxes[own], target.labels[there], target.boxes[there])
                    pairs.append((own[a], there[b], *rest))
            except FloatingPointError:
                diverged.append(target.image_id)
            assignments.append(Assignment(*(torch.cat(parts) for parts in zip(*pairs or [(none, none)]))))
        if diverged:
            raise FloatingPointError(
                f"the match cost is not finite for image(s) {', '.join(map(str, diverged))}: the predictions have "
                "diverged; lower optimizer.lr, or train with trainer.precision=32-true"
            )
        return assignments

    @abstractmethod
    def assign(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        ground_truth: Float[Tensor, "N 4"],
    ) -> Pairs:
        """M = min(Q, N) pairs of one image or region, from float32.

        Raises:
            FloatingPointError: what decides is not finite.
        """


class Hungarian(Matcher):
    """Bipartite matching (DETR, Carion et al. 2020, equation 1) with the class cost of Deformable DETR.

    The cost of a slot for an object is
    `class_cost · focal(score) + l1_cost · |boxes|₁ + giou_cost · (−GIoU) + rank_cost · slot / Q`, in float32.

    Args:
        class_cost, l1_cost, giou_cost: weights; L1 is over the four normalised corner coordinates.
        rank_cost: prefers early slots where others are as good (0: no preference).
        alpha, gamma: of the focal class cost.
    """

    def __init__(
        self, *, class_cost: float, l1_cost: float, giou_cost: float, rank_cost: float = 0.0, alpha: float = 0.25,
        gamma: float = 2.0,
    ):
        self.class_cost, self.l1_cost, self.giou_cost, self.rank_cost = class_cost, l1_cost, giou_cost, rank_cost
        self.alpha, self.gamma = alpha, gamma

    def assign(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        ground_truth: Float[Tensor, "N 4"],
    ) -> Pairs:
        return least_cost(self.cost(logits, boxes, labels, ground_truth))

    def cost(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        ground_truth: Float[Tensor, "N 4"],
    ) -> Float[Tensor, "Q N"]:
        """The cost of every slot for every object."""
        score = logits.sigmoid()[:, labels]
        present = self.alpha * (1 - score) ** self.gamma * -(score + 1e-8).log()
        absent = (1 - self.alpha) * score**self.gamma * -(1 - score + 1e-8).log()
        rank = torch.arange(len(logits), device=logits.device).unsqueeze(1) / len(logits)
        return (
            self.class_cost * (present - absent)
            + self.l1_cost * torch.cdist(boxes, ground_truth, p=1)
            - self.giou_cost * generalized_box_iou(boxes, ground_truth)
            + self.rank_cost * rank
        )


def least_cost(cost: Tensor) -> Pairs:
    """Rows and columns of the assignment of least total cost.

    Raises:
        FloatingPointError: a cost is not finite.
    """
    if not cost.isfinite().all():
        raise FloatingPointError
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(rows, device=cost.device), torch.as_tensor(columns, device=cost.device)


def _by_region(
    regions: Float[Tensor, "Q 4"] | None, slots: Int64[Tensor, "_"], target: Target
) -> Iterator[tuple[Int64[Tensor, "q"], Int64[Tensor, "n"]]]:
    """The slots of each region and the objects centred in it; regions without objects are left out."""
    if regions is None:
        yield slots, torch.arange(len(target.labels), device=slots.device)
        return
    distinct, owner = regions.unique_consecutive(dim=0, return_inverse=True)  # R 4, Q
    centres = (target.boxes[:, :2] + target.boxes[:, 2:]) / 2  # N 2
    inside = ((centres[:, None] >= distinct[:, :2]) & (centres[:, None] < distinct[:, 2:])).all(-1)  # N R
    for region in inside.any(0).nonzero().squeeze(1).tolist():
        yield slots[owner[slots] == region], inside[:, region].nonzero().squeeze(1)
