"""No decoder: the dense head's boxes, thinned by non-maximum suppression."""

from __future__ import annotations

from torch import nn

from detector.postprocess import suppress
from detector.types import Scene, StagePredictions, Target


class Dense(nn.Module):
    """The baseline of everybody's practice. It has nothing to train, and in training it predicts nothing.

    Args:
        width, strides, num_classes: taken, like every decoder does, and not needed.
        nms_threshold, soft_sigma, slots: see `suppress`.
    """

    def __init__(
        self, *, nms_threshold: float, soft_sigma: float | None, slots: int, width: int, strides: list[int],
        num_classes: int,
    ):
        super().__init__()
        self.nms_threshold, self.soft_sigma = nms_threshold, soft_sigma
        self.proposals, self.slots = 0, slots

    @property
    def suppression(self) -> str:
        """What it does, for people."""
        return f"NMS at {self.nms_threshold}" if self.soft_sigma is None else f"soft-NMS, sigma {self.soft_sigma}"

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[StagePredictions]:
        scene.refuse_unread_levels()
        if self.training:
            return []
        return [suppress(
            scene.dense, threshold=self.nms_threshold, slots=self.slots, soft_sigma=self.soft_sigma
        )]
