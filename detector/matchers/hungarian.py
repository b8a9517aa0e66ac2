"""The one-to-one assignment of least cost."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

from detector.matchers.matcher import Matcher


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
        truth: Float[Tensor, "N 4"],
    ) -> tuple[Int64[Tensor, "M"], Int64[Tensor, "M"]]:
        return least_cost(self.cost(logits, boxes, labels, truth))

    def cost(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        truth: Float[Tensor, "N 4"],
    ) -> Float[Tensor, "Q N"]:
        """The cost of every slot for every object."""
        score = logits.sigmoid()[:, labels]
        present = self.alpha * (1 - score) ** self.gamma * -(score + 1e-8).log()
        absent = (1 - self.alpha) * score**self.gamma * -(1 - score + 1e-8).log()
        rank = torch.arange(len(logits), device=logits.device).unsqueeze(1) / len(logits)
        return (
            self.class_cost * (present - absent)
            + self.l1_cost * torch.cdist(boxes, truth, p=1)
            - self.giou_cost * generalized_box_iou(boxes, truth)
            + self.rank_cost * rank
        )


def least_cost(cost: Tensor) -> tuple[Int64[Tensor, "M"], Int64[Tensor, "M"]]:
    """Rows and columns of the assignment of least total cost.

    Raises:
        FloatingPointError: a cost is not finite.
    """
    if not cost.isfinite().all():
        raise FloatingPointError
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(rows, device=cost.device), torch.as_tensor(columns, device=cost.device)
