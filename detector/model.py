"""The detector: backbone, neck, proposals, decoder."""

from __future__ import annotations

from typing import Any

from jaxtyping import UInt8
from torch import Tensor, nn

from detector.types import Output, Scene, Target


class Detector(nn.Module):
    """A CNN makes feature maps; a decoder predicts boxes and classes from what they propose, one after another.

    Args:
        backbone: images to feature maps (`detector.backbones`).
        neck: feature maps to a pyramid of equal width (`detector.necks`).
        proposals: pyramid to dense predictions, and the best of them in order (`detector.proposals`).
        decoder: predicts a box and class for each slot from those (`detector.decoders`).
    """

    def __init__(self, backbone: nn.Module, neck: nn.Module, proposals: nn.Module, decoder: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.proposals: Any = proposals  # what it declares is a tensor or a module to nn.Module
        self.decoder: Any = decoder  # likewise

    def forward(self, images: UInt8[Tensor, "B 3 H W"], targets: list[Target] | None = None) -> Output:
        """Detect on a batch of canvases given as bytes.

        Args:
            images: the canvases.
            targets: the ground truth, for decoders that are given some of it in training (teacher forcing).
        """
        canvas = (images.shape[-2], images.shape[-1])
        pyramid = self.neck(self.backbone(images))
        dense, locations = self.proposals(pyramid, canvas)
        proposals = self.proposals.select(dense, locations, self.decoder.proposals)
        scene = Scene(pyramid, dense.detach(), locations, proposals, canvas)
        return Output(scene, dense, self.decoder(scene, targets))
