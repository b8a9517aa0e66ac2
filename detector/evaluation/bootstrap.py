"""Resampling of test images (Efron 1979)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64


def bootstrap(images: int, resamples: int, seed: int) -> Int64[np.ndarray, "R N"]:
    """How often each of N images is in each of R resamples; equal seeds draw the same of equally many images."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
