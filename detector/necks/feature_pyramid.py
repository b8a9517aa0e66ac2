"""The feature pyramid network."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from detector.errors import InputError


class FeaturePyramid(nn.Module):
    """Feature pyramid network (Lin et al. 2017), torchvision's: deep maps are enlarged and added to shallow ones.

    Args:
        channels: of the backbone's maps, shallow to deep.
        strides: of those maps, in pixels of the canvas.
        width: channels of every map of the pyramid, a multiple of 8: the dense head normalises eight together.
        finest_stride: of the pyramid's first level; shallower maps are not used.

    Attributes:
        strides: of the levels.

    Raises:
        InputError: the backbone has no map of that stride, or the width is no multiple of 8.
    """

    def __init__(self, *, channels: list[int], strides: list[int], width: int, finest_stride: int = 8):
        super().__init__()
        if finest_stride not in strides:
            raise InputError(f"neck.finest_stride is {finest_stride}; the backbone's maps have strides {strides}")
        if width < 8 or width % 8:
            raise InputError(f"neck.width is {width}; it must be a multiple of 8, 8 at least")
        first = strides.index(finest_stride)
        self.width, self.strides = width, strides[first:]
        self.pyramid = FeaturePyramidNetwork(channels[first:], width)

    def forward(self, maps: list[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B D _ _"]]:
        used = maps[-len(self.strides) :]
        return list(self.pyramid({str(level): m for level, m in enumerate(used)}).values())
