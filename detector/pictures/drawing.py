"""Boxes on pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from detector.detections import Detections

# Okabe and Ito (2008): distinct to colour-blind readers too
COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF"]
# early to late: from light yellow over teal to dark blue, which they tell apart too
EARLY_TO_LATE = np.array([[255, 234, 70], [25, 165, 135], [30, 90, 200]])


def draw(
    image: UInt8[np.ndarray, "H W 3"], detections: Detections, *, by: str = "step", longer_side: int = 640
) -> Image.Image:
    """The picture with its detections; on each box its step, class and score.

    Args:
        detections: boxes in the picture's pixels; `names` are shown where given, else labels.
        by: what has a colour: `step`, from yellow, the first, to blue, the last; or `class`.
        longer_side: a smaller picture is enlarged to it, so that the writing can be read.
    """
    texts = [
        f"{step + 1} {detections.names[i] if detections.names else label} {score:.2f}"
        for i, (step, label, score) in enumerate(
            zip(detections.steps.tolist(), detections.labels.tolist(), detections.scores.tolist())
        )
    ]
    colours = step_colours(detections.steps.tolist()) if by == "step" else class_colours(detections.labels.tolist())
    return draw_boxes(image, detections.boxes.tolist(), colours, texts, longer_side=longer_side)


def step_colours(steps: Sequence[int]) -> list[str]:
    """A colour for each step, by its rank among them."""
    rank = np.argsort(np.argsort(steps, kind="stable"))
    at = 2 * rank / max(1, len(steps) - 1)
    mixed = np.stack([np.interp(at, [0, 1, 2], channel) for channel in EARLY_TO_LATE.T], 1)
    return ["#{:02X}{:02X}{:02X}".format(*colour) for colour in mixed.round().astype(int)]


def class_colours(labels: Sequence[int]) -> list[str]:
    """A colour for each label; after eight they start again."""
    return [COLOURS[label % len(COLOURS)] for label in labels]


def draw_boxes(
    image: UInt8[np.ndarray, "H W 3"], boxes: Sequence[Sequence[float]], colours: Sequence[str], texts: Sequence[str],
    *, longer_side: int,
) -> Image.Image:
    """The picture with boxes (`xyxy` in its pixels), each in its colour, with a text at its edge.

    A text goes where it covers no earlier one, if there is such a place at its box.
    """
    scale = max(1.0, longer_side / max(image.shape[:2]))
    picture = Image.fromarray(image)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    size = max(10, round(max(picture.size) / 60))
    font = ImageFont.load_default(size=size)
    for box, colour in zip(boxes, colours):
        x1, y1, x2, y2 = (value * scale for value in box)
        canvas.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=max(2, size // 7))
    texts_at: list[tuple[float, float, float, float]] = []
    for box, colour, text in zip(boxes, colours, texts):
        if not text:
            continue
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
        space = (right - left + 4, bottom - top + 4)
        place = text_place([value * scale for value in box], space, picture.size, texts_at)
        texts_at.append(place)
        canvas.rectangle(place, fill=colour)
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 128
        canvas.text((place[0] + 2 - left, place[1] + 2 - top), text, fill="white" if dark else "black", font=font)
    return picture


def text_place(
    box: Sequence[float], size: tuple[float, float], picture: tuple[int, int],
    texts_at: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float]:
    """Where a text of a size goes: inside or outside a corner of its box, where it covers least of other texts."""
    (x1, y1, x2, y2), (width, height) = box, size
    best, least = (0.0, 0.0, width, height), float("inf")
    for y in (y1, y1 - height, y2 - height, y2):
        for x in (x1, x2 - width):
            x, y = min(max(x, 0.0), picture[0] - width), min(max(y, 0.0), picture[1] - height)
            place = (x, y, x + width, y + height)
            covered = sum(
                max(0.0, min(place[2], right) - max(x, left)) * max(0.0, min(place[3], bottom) - max(y, top))
                for left, top, right, bottom in texts_at
            )
            if covered < least:
                best, least = place, covered
    return best


def side_by_side(
    image: UInt8[np.ndarray, "H W 3"], boxes: Sequence[Sequence[float]], labels: Sequence[int], names: Sequence[str],
    detections: Detections,
) -> Image.Image:
    """The ground truth on the left, detections on the right."""
    ground_truth = draw_boxes(image, boxes, class_colours(labels), [names[label] for label in labels], longer_side=480)
    return sheet([ground_truth, draw(image, detections, by="class", longer_side=480)], columns=2)


def sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures side by side, row by row."""
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (width * min(columns, len(pictures)), height * rows), "white")
    for i, picture in enumerate(pictures):
        page.paste(picture, (width * (i % columns), height * (i // columns)))
    return page
