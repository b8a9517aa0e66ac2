"""Column by column."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from detector.classification.reads.reading import Reading, strips


class Columns(Reading):
    """A step reads a column of pixels, from the left: T = W, D = K · H, channel after channel.

    Args:
        canvas, channels, shuffle_seed: see `Reading`.
    """

    def __init__(self, *, canvas: Sequence[int], channels: int, shuffle_seed: int | None = None):
        places = strips(canvas[0], of_rows=False)
        super().__init__(canvas=canvas, channels=channels, places=places, shuffle_seed=shuffle_seed)

    def pieces(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B W _"]:
        return images.permute(0, 3, 1, 2).flatten(2)
