"""What a classifier believes as it reads."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from detector.classification.named import Named
from detector.evaluation.plots import literal

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

MOST_CLASSES = 20
TALLEST = 12
"""Inches."""
MOST_FRAMES = 100
MOST_NUMBERED = 64
"""Steps that have their numbers written into the image."""


def reading_picture(
    image: UInt8[np.ndarray, "H W 3"], named: Named, places: Float[Tensor, "T 4"]
) -> Image.Image:
    """The image, and beside it the class probabilities if reading stopped at each step.

    Steps that are strips from the top down lie at the height at which they read the image.

    Args:
        image: as the network is given it, or any other size of it.
        named: what was made of it.
        places: what each step reads: `xyxy`, normalised to the image.
    """
    columns, shown = _shown(named)
    steps = len(shown)
    height = min(max(3.2, 0.24 * steps), TALLEST)
    aspect = image.shape[1] / image.shape[0]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(height * aspect + 1.8 + 0.42 * len(columns), height + 0.9),
        width_ratios=[height * aspect, 0.8 + 0.42 * len(columns)], layout="constrained",
    )
    left.imshow(image, interpolation="nearest", extent=(0, 1, 1, 0), aspect="auto")
    for number, (x1, y1, x2, y2) in enumerate(places.tolist()):
        left.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="#E69F00", linewidth=0.5))
        if steps <= MOST_NUMBERED and x2 - x1 < 0.99:  # not of rows: they lie beside theirs
            left.text((x1 + x2) / 2, (y1 + y2) / 2, number + 1, color="#E69F00", ha="center", va="center", fontsize=7)
    left.set(xticks=[], yticks=[], xlabel="what each step reads")
    drawn = right.imshow(shown, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for step, row in enumerate(shown if steps <= MOST_NUMBERED else []):
        best = int(row.argmax())
        right.text(best, step, f"{row[best]:.2f}".lstrip("0"), ha="center", va="center", fontsize=7,
                   color="black" if row[best] > 0.6 else "white")
    right.set_xticks(range(len(columns)), columns, rotation=0 if max(map(len, columns)) < 4 else 45)
    right.set(ylabel="read up to step", title=f"{literal(named.name)} {named.probability:.2f}")
    ticks = np.unique(np.linspace(0, steps - 1, min(steps, 16)).round().astype(int))
    right.set_yticks(ticks, ticks + 1)
    figure.colorbar(drawn, ax=right, label="probability")
    return _image(figure)


def frames(
    image: UInt8[np.ndarray, "H W 3"], named: Named, places: Float[Tensor, "T 4"]
) -> list[Image.Image]:
    """A picture a step: what has been read of the image, and the class probabilities by then; arguments as of
    `reading_picture`. The first shows nothing read; of more than `MOST_FRAMES` steps some are left out."""
    columns, shown = _shown(named)
    height, width = image.shape[:2]
    read = np.full(image.shape, 0.25)
    made = []
    drawn = {*np.linspace(0, len(shown), min(len(shown), MOST_FRAMES) + 1).round().astype(int).tolist()}
    for step in range(len(shown) + 1):
        title = "before the first step"
        if step:
            x1, y1, x2, y2 = places[step - 1].tolist()
            read[round(y1 * height) : round(y2 * height), round(x1 * width) : round(x2 * width)] = 1.0
            title = f"step {step}: {columns[int(shown[step - 1].argmax())]} {shown[step - 1].max():.2f}"
        if step not in drawn:
            continue
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
        left.imshow((image * read).astype(np.uint8), interpolation="nearest")
        left.set(xticks=[], yticks=[])
        right.barh(range(len(columns)), shown[step - 1] if step else np.zeros(len(columns)), color="#0072B2")
        right.set_yticks(range(len(columns)), columns)
        right.invert_yaxis()
        right.set(xlim=(0, 1), xlabel="probability")
        figure.suptitle(title)
        made.append(_image(figure))
    return made


def _shown(named: Named) -> tuple[list[str], Float[np.ndarray, "T c"]]:
    """The names and beliefs of the classes that are ever most probable, of so many as can be shown."""
    beliefs = named.beliefs.numpy()
    names = [literal(name) for name in named.names]
    kept = np.sort(np.argsort(-beliefs.max(0), kind="stable")[:MOST_CLASSES])
    return [names[label] for label in kept], beliefs[:, kept]


def _image(figure: plt.Figure) -> Image.Image:
    """The figure's pixels, even sides, which video wants."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    plt.close(figure)
    pixels = np.asarray(Image.open(buffer).convert("RGB"))
    return Image.fromarray(np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]))
