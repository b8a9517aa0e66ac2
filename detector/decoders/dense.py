"""No decoder: the dense head's boxes, thinned by non-maximum suppression."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_iou

from detector.types import Predictions, Scene, Target


class Dense(nn.Module):
    """The baseline of everybody's practice. It has nothing to train: in training it writes nothing.

    Args:
        width, strides, num_classes: taken, like every decoder does, and not needed.
        nms_threshold: of two boxes of a class that overlap more, the worse one goes.
        soft_sigma: a number in place of that threshold: the worse box stays, its score times exp(−IoU² / σ)
            (soft-NMS, Bodla et al. 2017, equation 3).
        slots: boxes kept, best first.
        candidates: best locations looked at.
    """

    def __init__(
        self, *, nms_threshold: float, slots: int = 100, candidates: int = 1000, soft_sigma: float | None = None,
        width: int | None = None, strides: list[int] | None = None, num_classes: int | None = None,
    ):
        super().__init__()
        self.nms_threshold, self.soft_sigma = nms_threshold, soft_sigma
        self.proposals, self.slots, self.candidates = 0, slots, candidates

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[Predictions]:
        scene.refuse_unread_levels()
        return [] if self.training else [self.suppress(scene.dense)]

    @torch.no_grad()
    def suppress(self, dense: Predictions) -> Predictions:
        """The boxes that are left of every location's, best first."""
        best = dense.logits.amax(-1).topk(min(self.candidates, dense.logits.shape[1]), dim=1).indices
        found = dense.gather(best)
        found.boxes = found.boxes.clamp(0, 1)
        found.written = torch.zeros(len(found.boxes), self.slots, dtype=torch.bool, device=found.boxes.device)
        index = torch.zeros_like(found.written, dtype=torch.int64)
        scores, labels = found.logits.sigmoid().max(-1)
        for image, (boxes, own, label) in enumerate(zip(found.boxes, scores, labels)):
            if self.soft_sigma is None:
                kept = batched_nms(boxes, own, label, self.nms_threshold)[: self.slots]
            else:
                kept, decayed = soft_nms(boxes, own, label, sigma=self.soft_sigma, keep=self.slots)
                found.logits[image, kept] += (torch.logit(decayed, eps=1e-6) - torch.logit(own[kept], eps=1e-6))[:, None]
            index[image, : len(kept)] = kept
            found.written[image, : len(kept)] = True
        kept = found.gather(index)
        kept.written = found.written
        return kept


def soft_nms(
    boxes: Float[Tensor, "N 4"], scores: Float[Tensor, "N"], labels: Int64[Tensor, "N"], *, sigma: float, keep: int
) -> tuple[Int64[Tensor, "K"], Float[Tensor, "K"]]:
    """Gaussian soft-NMS within each class.

    Returns:
        The first `keep` boxes in the order of their decayed scores, and those scores.
    """
    scores = scores.clone()
    decay = torch.where(labels[:, None] == labels[None], torch.exp(-box_iou(boxes, boxes) ** 2 / sigma), 1.0)
    kept, final = [], []
    for _ in range(min(keep, len(scores))):
        best = scores.argmax()
        kept.append(best)
        final.append(scores[best].clone())
        scores *= decay[best]
        scores[best] = -1.0
    return torch.stack(kept), torch.stack(final)
