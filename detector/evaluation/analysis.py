"""A tested run explained: every table, as JSON, CSV and picture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from detector.evaluation import plots
from detector.evaluation.calibration import calibration
from detector.evaluation.coco_map import CocoMAP
from detector.evaluation.confusion import confusion
from detector.evaluation.counting import counting
from detector.evaluation.crowding import by_number, by_overlap, by_size
from detector.evaluation.matches import RECALLS, Matches
from detector.evaluation.mistakes import MEANINGS, Mistakes
from detector.evaluation.sequence import anytime, steps
from detector.evaluation.thresholds import best_thresholds
from detector.evaluation.voc_ap import voc_ap

Table = list[dict]
PICTURES = {
    "precision_recall": plots.precision_recall, "overlap": plots.crowding, "number": plots.crowding,
    "size": plots.crowding, "mistakes": plots.mistakes, "confusion": plots.confusion, "calibration": plots.calibration,
    "anytime": plots.anytime, "steps": plots.steps, "counting": plots.counting,
}
"""How a table is drawn, where it is."""


def analyse(
    metric: CocoMAP, matches: Matches, scores: dict, thresholds: Float[np.ndarray, "C"]
) -> dict[str, Table]:
    """Every table by its name.

    Args:
        metric: with the detections of a test.
        matches: of the same.
        scores: of the same, as `CocoMAP.compute` returns them.
        thresholds: the score of each class from which on a box counts; chosen on other images than these.
    """
    names = metric.class_names
    mistakes = Mistakes.of(matches)
    counts, gains = mistakes.count(), mistakes.gains()
    best, f1 = best_thresholds(matches, len(names))
    matrix = confusion(matches, thresholds)
    return {
        "classes": [{"class": name, **row} for name, row in scores["per_class"].items()],
        "voc": voc_ap(metric),
        "precision_recall": [
            {"recall": float(recall), **{name: one[i] for name, one in scores["precision"].items() if min(one) >= 0}}
            for i, recall in enumerate(RECALLS)
        ],
        "mistakes": [
            {"mistake": kind, "count": counts[kind], "ΔAP50": gains[kind], "meaning": meaning}
            for kind, meaning in MEANINGS.items()
        ],
        "overlap": by_overlap(matches),
        "number": by_number(matches),
        "size": by_size(matches),
        "anytime": anytime(metric, matches),
        "steps": steps(matches, thresholds),
        "counting": counting(matches, names, thresholds),
        "confusion": [
            {"object": name, **dict(zip([*names, "background"], row))}
            for name, row in zip([*names, "background"], matrix.tolist())
        ],
        "calibration": calibration(matches),
        "thresholds": [
            {"class": name, "threshold": float(chosen), "best here": float(here), "F1 at best": float(value)}
            for name, chosen, here, value in zip(names, thresholds, best, f1)
        ],
    }


def write_tables(
    tables: dict[str, Table], folder: Path, pictures: Mapping[str, Callable[[Table, Path], None]] = PICTURES
) -> None:
    """Write `NAME.json`, `NAME.csv` and, for what can be drawn, `NAME.png`.

    Args:
        pictures: how a table is drawn, by its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rounded(rows), indent=1))
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rounded(rows))
        if name in pictures and rows:
            pictures[name](rows, folder / f"{name}.png")


def rounded(value):
    """Floats to five places and nan to null, through dicts and lists."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 5)
    return value
