"""Row by row of what a CNN makes of the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from detector.backbones.backbone import Backbone
from detector.classification.reads.reading import Reading, strips
from detector.errors import InputError


class CNNRows(Reading):
    """A step reads a row of a CNN's feature map, from the top down: T = H / stride, D = channels · W / stride.

    Args:
        canvas, channels, shuffle_seed: see `Reading`; channels: 3, or 1, which is taken for all three.
        backbone: the CNN.
        stride: of the map that is read: 4, 8, 16 or, the last one, 32.

    Raises:
        InputError: there is no map of this stride, the canvas is smaller, or the images have other channels.
    """

    def __init__(
        self, *, canvas: Sequence[int], channels: int, backbone: Backbone, stride: int = 32,
        shuffle_seed: int | None = None,
    ):
        if stride not in backbone.strides:
            raise InputError(f"reads.stride is {stride}; the CNN has maps of {', '.join(map(str, backbone.strides))}")
        if min(canvas) < 32:
            raise InputError(
                f"data.canvas is {canvas[0]}×{canvas[1]} pixels, the CNN needs 32 a side at least; give a larger one, "
                "or reads=rows"
            )
        if channels not in (1, 3):
            raise InputError(f"the images have {channels} channels, the CNN takes 1 or 3; change the preprocessing")
        places = strips(-(-canvas[1] // stride), of_rows=True)
        super().__init__(canvas=canvas, channels=channels, places=places, shuffle_seed=shuffle_seed)
        self.backbone, self.level = backbone, backbone.strides.index(stride)

    def pieces(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B T D"]:
        maps = self.backbone((255 * images).round().to(torch.uint8).expand(-1, 3, -1, -1))
        return maps[self.level].transpose(1, 2).flatten(2)
