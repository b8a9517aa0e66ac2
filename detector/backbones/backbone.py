"""The contract of every backbone, with freezing done once for all of them."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from detector.backbones.folding import batch_norms, folded
from detector.errors import InputError

STRIDES = [4, 8, 16, 32]
BATCH_NORM_MODES = ("frozen", "train")


class Backbone(nn.Module):
    """A CNN that declares its own interface.

    Args:
        body: a module that maps normalised images to feature maps, each half as large as the one before, the last four
            of strides 4, 8, 16 and 32.
        mean, std: of the images the weights were trained on, a channel, in 0 … 255.
        frozen_stages: the first so many feature maps keep the weights behind them: with maps at strides 2, 4, 8, 16
            and 32, 0 trains everything, 3 freezes all that the map of stride 8 needs, 5 freezes the whole CNN.
        batch_norm: `frozen` keeps every batch-norm's statistics, scale and shift as loaded (what small batches and
            pretrained weights want); `train` trains those outside the frozen stages. Frozen ones are folded into the
            convolutions before them: the same maps in less time.

    Attributes:
        channels: channels of each map that `forward` returns.
        strides: pixels of the image a cell of each map spans.

    Raises:
        InputError: an option is out of range, or the CNN's maps have other strides.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, *, mean: list[float], std: list[float], frozen_stages: int, batch_norm: str):
        super().__init__()
        if batch_norm not in BATCH_NORM_MODES:
            raise InputError(f"batch_norm is {batch_norm!r}; it must be one of {', '.join(BATCH_NORM_MODES)}")
        self.body = body.eval()  # the probe below is no batch to update statistics with
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        image = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
        maps = list(body(image))
        strides = [64 // m.shape[-1] for m in maps]
        if strides[-4:] != STRIDES:
            raise InputError(f"the CNN's maps have strides {strides}; the last four must be 4, 8, 16 and 32")
        if not 0 <= frozen_stages <= len(maps):
            raise InputError(f"frozen_stages is {frozen_stages}; it must be 0 (train all) to {len(maps)} (freeze all)")
        self.channels = [m.shape[1] for m in maps[-4:]]
        self.strides = list(STRIDES)
        self._freeze(maps[:frozen_stages], batch_norm)
        smaller = folded(self.body, image)
        if all((new - old).abs().max() <= 1e-3 * old.abs().max() for new, old in zip(smaller(image), maps)):
            self.body = smaller  # not where a convolution's output is also read past its batch-norm
        self.train()

    def forward(self, images: UInt8[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Feature maps at strides 4, 8, 16 and 32 of images given as bytes (0 … 255)."""
        normalised = (images.to(self.mean.dtype) - self.mean) / self.std
        # CPUs have no fast bfloat16 backward for the depthwise convolutions of small CNNs: those stay in float32 there
        reduced = images.is_cuda and torch.is_autocast_enabled("cuda")
        with torch.autocast(images.device.type, enabled=reduced):
            return list(self.body(normalised.contiguous(memory_format=torch.channels_last)))[-4:]

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for norm in batch_norms(self.body):
            norm.train(mode and norm.weight.requires_grad)
        return self

    def _freeze(self, maps: list[Tensor], batch_norm: str) -> None:
        """Freeze the parameters that `maps` depend on (autograd knows which), and batch-norms."""
        if maps:
            parameters = list(self.body.parameters())
            gradients = torch.autograd.grad(torch.stack([m.sum() for m in maps]).sum(), parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients):
                parameter.requires_grad_(gradient is None)
        for norm in batch_norms(self.body):
            norm.requires_grad_(batch_norm == "train" and norm.weight.requires_grad)
