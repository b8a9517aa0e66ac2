"""The sequence, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from detector.pictures.drawing import draw_boxes, sheet, step_colours
from detector.postprocess import detections_of
from detector.types import Output

BACKGROUND = "#9A9A9A"
TAIL = 3
"""Steps shown after the last box."""


def frames(
    image: UInt8[np.ndarray, "H W 3"], output: Output, *, class_names: Sequence[str],
    thresholds: Float[torch.Tensor, "C"], longer_side: int = 640,
) -> list[Image.Image]:
    """A picture a step: where its features come from, the box that it predicts, and the boxes predicted before.

    Features are shown as the places sampled and the area they lie in, or as a light over the picture where a decoder
    attends to all of it. A step that answers as background (a score below its class's threshold) leaves a grey box
    behind.

    Args:
        image: the picture.
        output: of a detector, for this picture alone.
        class_names: of its labels.
        thresholds: scores of each class from which on a box counts.
        longer_side: a smaller picture is enlarged to it.

    Returns:
        One picture more than there are steps shown: the first is empty. Steps are shown up to the last box and
        `TAIL` more.
    """
    last = output.stages[-1]
    height, width = image.shape[:2]
    found = detections_of(last, [(height, width)])[0].cpu()
    sure = found.scores >= thresholds[found.labels]
    count = min(len(found), int(sure.nonzero().amax()) + 1 + TAIL if sure.any() else TAIL)
    steps, boxes = found.steps[:count].tolist(), found.boxes[:count].tolist()
    order = {step: colour for step, colour in zip(found.steps[sure].tolist(), step_colours(found.steps[sure].tolist()))}
    words = [f"{class_names[label]} {score:.2f}" for label, score in zip(found.labels.tolist(), found.scores.tolist())]

    def drawn(upto: int, seen: UInt8[np.ndarray, "H W 3"]) -> Image.Image:
        """The boxes of the first so many steps; grey ones first, so that they cover nothing."""
        row = sorted(range(upto), key=lambda i: bool(sure[i]))
        colours = [order.get(steps[i], BACKGROUND) for i in row]
        texts = [f"{steps[i] + 1} {words[i]}" if sure[i] else "" for i in row]
        return draw_boxes(seen, [boxes[i] for i in row], colours, texts, longer_side=longer_side)

    made = [_titled(drawn(0, image), "before the first step")]
    for i in range(count):
        seen = image
        if last.attention is not None:
            seen = _lit(image, last.attention[0, steps[i]].float().cpu().numpy(), output.scene.locations.shapes)
        picture = drawn(i + 1, seen)
        if last.sampled_points is not None:
            _mark(picture, last.sampled_points[0, steps[i]].cpu().numpy())
        made.append(_titled(picture, f"step {steps[i] + 1}: {words[i] if sure[i] else 'background'}"))
    return made


def save_gif(pictures: Sequence[Image.Image], file: Path, *, seconds: float = 0.5) -> None:
    """Each picture for so long, the last one longer, again and again; all in the same 256 colours."""
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [round(4000 * seconds)]
    samples = [one.resize((one.width // 4, one.height // 4), Image.Resampling.NEAREST) for one in pictures]
    palette = sheet(samples, columns=8).quantize(256)  # once, as the search for colours takes a second
    first, *others = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    first.save(file, save_all=True, append_images=others, duration=durations, loop=0)


def save_mp4(pictures: Sequence[Image.Image], file: Path, *, seconds: float = 0.5) -> None:
    """Each picture for so long."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 1 / seconds, pictures[0].size)
    for picture in pictures:
        writer.write(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR))
    writer.release()


def _lit(
    image: UInt8[np.ndarray, "H W 3"], attention: Float[np.ndarray, "L"], shapes: Sequence[tuple[int, int]]
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture, dark where nothing was attended to; the levels of the pyramid summed."""
    height, width = image.shape[:2]
    total, start = np.zeros((height, width), dtype=np.float32), 0
    for rows, columns in shapes:
        level = attention[start : start + rows * columns].reshape(rows, columns).astype(np.float32)
        total += cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR)
        start += rows * columns
    light = 0.35 + 0.65 * total / max(float(total.max()), 1e-9)
    return (image * light[..., None]).astype(np.uint8)


def _mark(picture: Image.Image, places: Float[np.ndarray, "P 2"]) -> None:
    """Dots at the places sampled, and the area they lie in."""
    canvas = ImageDraw.Draw(picture)
    size = np.array(picture.size)
    places = places * size
    side = round(len(places) ** 0.5)
    half = (places.max(0) - places.min(0)) / (2 * max(1, side - 1))
    low, high = places.min(0) - half, places.max(0) + half
    canvas.rectangle((*low, *np.maximum(high, low + 1)), outline="#FFFFFF", width=1)
    radius = max(2, round(max(picture.size) / 250))
    for x, y in places:
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill="#FFFFFF", outline="#000000")


def _titled(picture: Image.Image, title: str) -> Image.Image:
    """With a line of text under it."""
    size = max(12, round(max(picture.size) / 40))
    width, height = picture.width + picture.width % 2, picture.height + 2 * size
    page = Image.new("RGB", (width, height + height % 2), "white")  # even sides, which video wants
    page.paste(picture)
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(page).text((6, picture.height + size // 3), title, fill="black", font=font)
    return page
