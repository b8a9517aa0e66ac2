"""From an image of any size to what the network sees."""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer version

import albumentations
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from detector.errors import InputError

LARGE = 2048
"""Pixels a side of the image that shows how many channels come out; any crop fits into it."""


class Preprocessing:
    """Augments an image, then prepares it as every image is prepared.

    Args:
        canvas: (width, height) in pixels that must come out.
        transforms: of albumentations, in order, for all images: colour space, crop, size, and `ToFloat` at the end.
        augmentation: of albumentations, before them, for training images alone; they see RGB bytes.

    Attributes:
        channels: of what comes out.

    Raises:
        InputError: what comes out has another size, or is not between 0 and 1.
    """

    def __init__(
        self, *, canvas: tuple[int, int], transforms: Sequence[albumentations.BasicTransform],
        augmentation: Sequence[albumentations.BasicTransform | albumentations.BaseCompose] = (),
    ):
        width, height = canvas
        self.canvas = (width, height)
        self.pipeline = albumentations.Compose([*augmentation, *transforms])
        self.channels = self._made(np.zeros((LARGE, LARGE, 3), dtype=np.uint8)).shape[2]

    def __call__(self, image: UInt8[np.ndarray, "_ _ 3"], *, seed: int) -> Float[Tensor, "K H W"]:
        """The image as the network sees it; equal seeds augment equally."""
        self.pipeline.set_random_seed(seed)
        made = self._made(image)
        height, width = made.shape[:2]
        if (width, height) != self.canvas:
            raise InputError(
                f"an image of {image.shape[1]}×{image.shape[0]} pixels comes out of the preprocessing with "
                f"{width}×{height}, data.canvas is {self.canvas[0]}×{self.canvas[1]}: a batch needs images of one "
                "size; let a Resize or a crop of that size be among preprocessing.transforms"
            )
        if made.min() < -1e-6 or made.max() > 1 + 1e-6:
            raise InputError(
                f"the preprocessing gives numbers from {made.min():g} to {made.max():g}, expected 0 to 1; let "
                "preprocessing.transforms end with albumentations.ToFloat (max_value: 255)"
            )
        return torch.from_numpy(np.ascontiguousarray(made.transpose(2, 0, 1)))

    def _made(self, image: UInt8[np.ndarray, "_ _ 3"]) -> Float[np.ndarray, "H W K"]:
        """What comes out of the transforms."""
        try:
            made = np.atleast_3d(self.pipeline(image=image)["image"])
        except Exception as error:  # whatever a transform raises
            raise InputError(
                f"an image of {image.shape[1]}×{image.shape[0]} pixels does not go through preprocessing.transforms "
                f"({' '.join(str(error).split())}); where a crop is larger than the image, let a Resize or PadIfNeeded "
                "come before it"
            ) from error
        if made.dtype != np.float32:
            raise InputError(
                f"the preprocessing gives {made.dtype}, expected float32 from 0 to 1; let preprocessing.transforms end "
                "with albumentations.ToFloat (max_value: 255)"
            )
        return made
