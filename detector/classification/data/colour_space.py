"""Colour spaces that albumentations does not convert to."""

from __future__ import annotations

import albumentations
import cv2
import numpy as np
from jaxtyping import UInt8

from detector.errors import InputError

CONVERSIONS = {"hsv": cv2.COLOR_RGB2HSV_FULL, "lab": cv2.COLOR_RGB2LAB}


class ColourSpace(albumentations.ImageOnlyTransform):
    """RGB bytes to another colour space, each channel as bytes that use the whole range.

    Args:
        space: `hsv` (hue, saturation, value) or `lab` (CIE L*a*b*).
    """

    def __init__(self, space: str):
        super().__init__(p=1.0)
        if space not in CONVERSIONS:
            raise InputError(f"colour space is {space!r}; there are {', '.join(CONVERSIONS)}")
        self.space = space

    def apply(self, img: UInt8[np.ndarray, "H W 3"], **parameters) -> UInt8[np.ndarray, "H W 3"]:
        return cv2.cvtColor(img, CONVERSIONS[self.space])
