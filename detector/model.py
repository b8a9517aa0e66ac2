"""The detector: backbone, neck, proposals, decoder."""

from __future__ import annotations

from typing import Any

from jaxtyping import UInt8
from torch import Tensor, nn

from detector.types import Output, Scene, Seen, Target


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
        self.frozen: list[nn.Module] = []

    def forward(self, images: UInt8[Tensor, "B 3 H W"], targets: list[Target] | None = None) -> Output:
        """Detect on a batch of canvases given as bytes.

        Args:
            images: the canvases.
            targets: the ground truth, for decoders that are given some of it in training (teacher forcing).
        """
        return self.decode(self.look(images), targets)

    def look(self, images: UInt8[Tensor, "B 3 H W"]) -> Seen:
        """The first half of `forward`: all that comes before the decoder."""
        canvas = (images.shape[-2], images.shape[-1])
        pyramid = self.neck(self.backbone(images))
        dense, locations = self.proposals(pyramid, canvas)
        return Seen(pyramid, dense, locations, canvas)

    def decode(self, seen: Seen, targets: list[Target] | None = None) -> Output:
        """The second half: the proposals that this decoder asks for, and what it makes of them."""
        proposals = self.proposals.select(seen.dense, self.decoder.proposals)
        scene = Scene(seen.pyramid, seen.dense.detach(), seen.locations, proposals, seen.canvas)
        return Output(scene, seen.dense, self.decoder(scene, targets))

    def freeze(self) -> None:
        """Leave the decoder alone to be trained: the rest gets no gradients, and evaluates in training too."""
        self.frozen = [self.backbone, self.neck, self.proposals]
        for part in self.frozen:
            part.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Detector:
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self
