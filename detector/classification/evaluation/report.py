"""One page that explains a tested classifier, with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from detector.classification.evaluation.answers import Answers
from detector.evaluation.report import write_page


def surest_and_most_wrong(answers: Answers, count: int) -> dict[str, list[int]]:
    """Which images to look at: positions of at most `count` each, by heading.

    By the probability of the predicted class: of images named rightly and of those named wrongly those where it is
    highest, and of all others those where it is lowest. Among equals, the first.
    """
    probability, right = answers.probabilities.max(-1), answers.predicted == answers.labels
    surest = np.argsort(-probability, kind="stable")
    chosen = {"Right and surest": surest[right[surest]][:count], "Wrong and surest": surest[~right[surest]][:count]}
    least = np.argsort(probability, kind="stable")
    chosen["Least sure"] = least[~np.isin(least, np.concatenate([*chosen.values()]))][:count]
    return {heading: positions.tolist() for heading, positions in chosen.items()}


def write_report(
    file: Path, *, title: str, facts: dict[str, object], tables: dict[str, list[dict]], folder: Path,
    examples: Sequence[tuple[str, Sequence[Image.Image]]],
) -> None:
    """Write an HTML page that needs no other file.

    Args:
        file: where to.
        title: heading.
        facts: what is to be known of the run, shown as given.
        tables: of `analyse`.
        folder: holds their pictures, as `write_tables` left them.
        examples: headings and pictures.
    """
    write_page(
        file, "classification/evaluation/report.html", title=title, facts=facts, tables=tables, folder=folder,
        examples=examples,
    )
