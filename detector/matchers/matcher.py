"""What one-to-one matchers have in common: images, and regions of an image, one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from detector.types import Assignment, Predictions, Target


class Matcher(ABC):
    """Pairs slots and objects; a subclass says which in `assign`."""

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: list[Target]) -> list[Assignment]:
        """Match every image by itself, and every region of it where the slots have regions.

        Post-condition: no slot and no object twice; for each image, or region with the objects centred in it, as many
        pairs as the smaller of slots and objects.

        Raises:
            FloatingPointError: a prediction or a cost is not finite; names the images.
        """
        assignments, broken = [], []
        for logits, boxes, target in zip(predictions.logits.float(), predictions.boxes.float(), targets):
            try:
                pairs = [
                    (slots[a], objects[b])
                    for slots, objects in _shares(predictions.regions, len(boxes), target)
                    for a, b in [self.assign(logits[slots], boxes[slots], target.labels[objects], target.boxes[objects])]
                ]
            except FloatingPointError:
                broken.append(target.image_id)
                continue
            none = torch.empty(0, dtype=torch.int64, device=boxes.device)
            assignments.append(Assignment(
                torch.cat([none, *(slots for slots, _ in pairs)]), torch.cat([none, *(objects for _, objects in pairs)])
            ))
        if broken:
            raise FloatingPointError(
                f"the match cost is not finite for image(s) {', '.join(map(str, broken))}: the predictions have "
                "diverged; lower optimizer.lr, or train with trainer.precision=32-true"
            )
        return assignments

    @abstractmethod
    def assign(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        truth: Float[Tensor, "N 4"],
    ) -> tuple[Int64[Tensor, "M"], Int64[Tensor, "M"]]:
        """The slots and the objects of the pairs, M = min(Q, N), for one image or region in float32.

        Raises:
            FloatingPointError: what decides is not finite.
        """


def _shares(
    regions: Float[Tensor, "Q 4"] | None, slots: int, target: Target
) -> Iterator[tuple[Int64[Tensor, "q"], Int64[Tensor, "n"]]]:
    """The slots of each region and the objects centred in it; regions without objects are left out."""
    every = torch.arange(slots, device=target.boxes.device)
    if regions is None:
        yield every, torch.arange(len(target.labels), device=every.device)
        return
    distinct, owner = regions.unique_consecutive(dim=0, return_inverse=True)
    centres = (target.boxes[:, :2] + target.boxes[:, 2:]) / 2
    inside = ((centres[:, None] >= distinct[:, :2]) & (centres[:, None] < distinct[:, 2:])).all(-1)  # N R
    for region in inside.any(0).nonzero().squeeze(1).tolist():
        yield every[owner == region], inside[:, region].nonzero().squeeze(1)
