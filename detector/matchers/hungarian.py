"""The one-to-one assignment of least cost."""

from __future__ import annotations

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

from detector.types import Assignment, Predictions, Target


class Hungarian:
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

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: list[Target]) -> list[Assignment]:
        """Match every image by itself.

        Post-condition: for each image, min(Q, N) pairs, no slot and no object twice, of least total cost.

        Raises:
            FloatingPointError: a cost is not finite; names the images.
        """
        costs = [
            self.cost(logits.float(), boxes.float(), target)
            for logits, boxes, target in zip(predictions.logits, predictions.boxes, targets)
        ]
        broken = [target.image_id for target, cost in zip(targets, costs) if not cost.isfinite().all()]
        if broken:
            raise FloatingPointError(
                f"the match cost is not finite for image(s) {', '.join(map(str, broken))}: the predictions have "
                "diverged; lower optimizer.lr, or train with trainer.precision=32-true"
            )
        device = predictions.logits.device
        pairs = [linear_sum_assignment(cost.cpu().numpy()) for cost in costs]
        return [
            Assignment(torch.as_tensor(slots, device=device), torch.as_tensor(objects, device=device))
            for slots, objects in pairs
        ]

    def cost(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], target: Target
    ) -> Float[Tensor, "Q N"]:
        """The cost of every slot for every object of one image."""
        score = logits.sigmoid()[:, target.labels]
        present = self.alpha * (1 - score) ** self.gamma * -(score + 1e-8).log()
        absent = (1 - self.alpha) * score**self.gamma * -(1 - score + 1e-8).log()
        rank = torch.arange(len(logits), device=logits.device).unsqueeze(1) / len(logits)
        return (
            self.class_cost * (present - absent)
            + self.l1_cost * torch.cdist(boxes, target.boxes, p=1)
            - self.giou_cost * generalized_box_iou(boxes, target.boxes)
            + self.rank_cost * rank
        )
