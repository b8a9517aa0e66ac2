"""One page that explains a tested run, with everything in it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
from jaxtyping import Float
from PIL import Image

from detector.evaluation.coco_map import MEANINGS, NAMES
from detector.evaluation.crowding import CROWD_SCORES
from detector.evaluation.matches import Matches


def image_f1(matches: Matches, thresholds: Float[np.ndarray, "C"]) -> Float[np.ndarray, "I"]:
    """F1 at IoU .5 of each image, from the chosen scores on; nan where there is neither an object nor a box."""
    count = len(matches.image_ids)
    sure = (matches.scores >= thresholds[matches.labels]) & ~matches.ignored[:, 0]
    found = np.bincount(matches.images[sure & matches.true_positive[:, 0]], minlength=count)
    boxes = np.bincount(matches.images[sure], minlength=count)
    objects = np.bincount(matches.object_images, minlength=count)
    return np.divide(2 * found, boxes + objects, out=np.full(count, np.nan), where=boxes + objects > 0)


def worst_and_best(matches: Matches, thresholds: Float[np.ndarray, "C"], count: int) -> tuple[list[int], list[int]]:
    """The ids of images with the lowest and the highest `image_f1`; among equals, those with the most objects."""
    f1 = image_f1(matches, thresholds)
    objects = np.bincount(matches.object_images, minlength=len(f1))
    known = np.flatnonzero(~np.isnan(f1))
    worst = known[np.lexsort((-objects[known], f1[known]))][:count]
    best = known[np.lexsort((-objects[known], -f1[known]))][:count]
    best = best[~np.isin(best, worst)]
    return matches.image_ids[worst].tolist(), matches.image_ids[best].tolist()


def write_report(
    file: Path, *, title: str, facts: dict[str, object], scores: dict, reference: dict, suppression: str,
    nms_threshold: float, compared: dict | None, tables: dict[str, list[dict]], folder: Path,
    examples: Sequence[tuple[str, Sequence[Image.Image]]],
) -> None:
    """Write an HTML page that needs no other file.

    Args:
        file: where to.
        title: heading.
        facts: what is to be known of the run, shown as given.
        scores, reference: of the decoder and of the dense head with NMS, as `CocoMAP.compute` and `crowd_scores` return
            them.
        suppression: what suppresses boxes of the former, such as `no NMS`.
        nms_threshold: of the latter.
        compared: what `SuppressionComparison.compare` returns; None: nothing was compared.
        tables: of `analyse`.
        folder: holds their pictures, as `write_tables` left them.
        examples: headings and pictures.
    """
    write_page(
        file, "evaluation/report.html", title=title, facts=facts, tables=tables, folder=folder, examples=examples,
        numbers=[*zip(NAMES, MEANINGS), *CROWD_SCORES.items()], scores=scores, reference=reference,
        suppression=suppression, nms_threshold=nms_threshold, compared=compared,
    )


def write_page(
    file: Path, template: str, *, title: str, facts: dict[str, object], tables: dict[str, list[dict]], folder: Path,
    examples: Sequence[tuple[str, Sequence[Image.Image]]], **others,
) -> None:
    """Fill a template that extends `page.html`, and write the page.

    Args:
        template: below the package.
        title, facts, tables, folder, examples: as `write_report` takes them.
        others: what the template needs beside these.
    """
    jinja = jinja2.Environment(
        loader=jinja2.PackageLoader("detector", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    jinja.filters |= {"shown": shown, "embedded": embedded}
    pictures = {name: folder / f"{name}.png" for name in tables if (folder / f"{name}.png").exists()}
    file.write_text(jinja.get_template(template).render(
        title=title, facts=facts, tables=tables, pictures=pictures, examples=examples, **others,
    ))


def shown(value: object) -> str:
    """A cell of a table."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def embedded(picture: Path | Image.Image) -> str:
    """A picture as the address that holds it."""
    if isinstance(picture, Path):
        return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(picture)).decode()}"


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
