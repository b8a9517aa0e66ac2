"""An image with a text."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

LEAST, MOST = 160, 320
"""Pixels of the longer side of an image that is shown."""
FONT = 13
"""Pixels."""


def captioned(image: UInt8[np.ndarray, "H W 3"], caption: str) -> Image.Image:
    """The image, enlarged by a whole factor, so that its pixels can be seen, or made smaller; and a text under it."""
    picture = Image.fromarray(image)
    factor = -(-LEAST // max(picture.size))
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((MOST, MOST))
    font = ImageFont.load_default(size=FONT)
    left, top, right, bottom = ImageDraw.Draw(picture).multiline_textbbox((0, 0), caption, font=font)
    width, height = max(picture.width, round(right - left) + 2), picture.height + round(bottom - top) + FONT
    page = Image.new("RGB", (width, height), "white")
    page.paste(picture, (0, 0))
    ImageDraw.Draw(page).multiline_text((1 - left, picture.height + FONT // 2 - top), caption, "black", font)
    return page
