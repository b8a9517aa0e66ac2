"""What a network is given, as people can see it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor


def as_picture(image: Float[Tensor, "K H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Three channels as if they were red, green and blue, whatever they are; of other numbers the first, as grey."""
    shown = image if len(image) == 3 else image[:1].expand(3, -1, -1)
    return (255 * shown.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
