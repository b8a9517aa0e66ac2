"""The feature pyramid network."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork


class FeaturePyramid(nn.Module):
    """Feature pyramid network (Lin et al. 2017), torchvision's: deep maps are enlarged and added to shallow ones.

    Args:
        channels: of the backbone's maps, shallow to deep.
        width: channels of every map of the pyramid.
    """

    def __init__(self, *, channels: list[int], width: int):
        super().__init__()
        self.width = width
        self.pyramid = FeaturePyramidNetwork(channels, width)

    def forward(self, maps: list[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B D _ _"]]:
        return list(self.pyramid({str(level): m for level, m in enumerate(maps)}).values())
