"""Row by row."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from detector.classification.reads.reading import Reading, strips


class Rows(Reading):
    """A step reads a row of pixels, from the top down: T = H, D = K · W, channel after channel.

    Args:
        canvas, channels, shuffle_seed: see `Reading`.
    """

    def __init__(self, *, canvas: Sequence[int], channels: int, shuffle_seed: int | None = None):
        places = strips(canvas[1], of_rows=True)
        super().__init__(canvas=canvas, channels=channels, places=places, shuffle_seed=shuffle_seed)

    def pieces(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B H _"]:
        return images.transpose(1, 2).flatten(2)
