"""Boxes on pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from detector.types import Detections

# Okabe and Ito (2008): distinct to colour-blind readers too
COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF"]


def draw(image: UInt8[np.ndarray, "H W 3"], detections: Detections, *, longer_side: int = 640) -> Image.Image:
    """The picture with its detections: a colour a class; on each box the step that wrote it, its class and score.

    Args:
        detections: boxes in the picture's pixels; `names` are shown where given, else labels.
        longer_side: a smaller picture is enlarged to it, so that the writing can be read.
    """
    labels = [
        f"{step + 1} {detections.names[i] if detections.names else label} {score:.2f}"
        for i, (step, label, score) in enumerate(
            zip(detections.steps.tolist(), detections.labels.tolist(), detections.scores.tolist())
        )
    ]
    return draw_boxes(image, detections.boxes.tolist(), detections.labels.tolist(), labels, longer_side=longer_side)


def draw_boxes(
    image: UInt8[np.ndarray, "H W 3"], boxes: Sequence[Sequence[float]], colours: Sequence[int],
    texts: Sequence[str], *, longer_side: int,
) -> Image.Image:
    """The picture with boxes (`xyxy` in its pixels), each in a colour by number, with a text at its corner."""
    scale = max(1.0, longer_side / max(image.shape[:2]))
    picture = Image.fromarray(image)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    size = max(10, round(max(picture.size) / 60))
    font = ImageFont.load_default(size=size)
    for box, colour, text in zip(boxes, colours, texts):
        colour = COLOURS[colour % len(COLOURS)]
        x1, y1, x2, y2 = (value * scale for value in box)
        canvas.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=max(2, size // 7))
        if not text:
            continue
        left, top, right, bottom = canvas.textbbox((x1 + 2, y1 + 1), text, font=font)
        shift_x = min(0.0, picture.width - right - 1)
        canvas.rectangle((left + shift_x - 2, top - 1, right + shift_x + 1, bottom + 1), fill=colour)
        canvas.text((x1 + 2 + shift_x, y1 + 1), text, fill="black", font=font)
    return picture


def sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures side by side, row by row."""
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (width * min(columns, len(pictures)), height * rows), "white")
    for i, picture in enumerate(pictures):
        page.paste(picture, (width * (i % columns), height * (i // columns)))
    return page
