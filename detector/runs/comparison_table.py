"""A table of runs as Markdown and CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from detector.evaluation.crowding import CROWD_SCORES

COLUMNS = (
    "name", "seeds", "AP", "AP_std", "AP_low", "AP_high", "AP50", "AP75", "AP_best", *CROWD_SCORES, "recall_apart",
    "recall_overlapping", "difference", "difference_low", "difference_high", "p", "boxes", "parameters",
    "multiply_adds", "milliseconds", "minutes", "megabytes",
)
"""Of a table of detectors, all of them in its CSV file."""
COLUMNS_OF_CLASSIFIERS = (
    "name", "seeds", "accuracy", "accuracy_std", "accuracy_low", "accuracy_high", "macro_accuracy", "difference",
    "difference_low", "difference_high", "p", "parameters", "thousand_parameters", "multiply_adds", "milliseconds",
    "minutes", "megabytes",
)
HEADINGS = {
    "name": "run", "seeds": "seeds", "AP": "AP (95 %)", "AP_std": "± seeds", "AP50": "AP50", "AP75": "AP75",
    "accuracy": "accuracy (95 %)", "accuracy_std": "± seeds", "macro_accuracy": "macro accuracy",
    "AP_best": "AP at top n+1", "MR^-2": "MR^-2", "JI": "JI", "recall_overlapping": "recall of overlapping objects",
    "difference": "− baseline (95 %)", "p": "p", "thousand_parameters": "parameters, thousands",
    "multiply_adds": "MACs, G", "milliseconds": "ms / image",
}
"""The columns shown; intervals stand in the cell of what they are of."""
GIVE_WAY = ("AP75", "p")
"""Columns that are not shown where JI is: more than twelve are hard to read."""


def markdown(rows: list[dict]) -> str:
    """The table of `HEADINGS`; columns that no row fills are left out, `GIVE_WAY` where JI is known, MACs of
    classifiers."""
    keys = [key for key in HEADINGS if any(row.get(key) is not None for row in rows)]
    keys = [key for key in keys if "JI" not in keys or key not in GIVE_WAY]
    keys = [key for key in keys if "accuracy" not in keys or key != "multiply_adds"]  # thousandths of a G
    lines = ["| " + " | ".join(HEADINGS[key] for key in keys) + " |", "| --- |" + " ---: |" * (len(keys) - 1)]
    lines += ["| " + " | ".join(_cell(row, key) for key in keys) + " |" for row in rows]
    return "\n".join(lines)


def _cell(row: dict, key: str) -> str:
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return shown(key, row.get(key)) + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def write_csv(rows: list[dict], file: Path) -> None:
    """All columns, in full precision."""
    columns = COLUMNS_OF_CLASSIFIERS if "accuracy" in rows[0] else COLUMNS
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, columns)
        writer.writeheader()
        writer.writerows({key: row.get(key) for key in columns} for row in rows)


def read_csv(file: Path) -> list[dict]:
    """The rows that `write_csv` wrote."""
    with file.open(newline="") as lines:
        return [
            {key: value if key == "name" else int(value) if key == "seeds" else float(value)
             for key, value in row.items() if value}
            for row in csv.DictReader(lines)
        ]


def shown(key: str, value) -> str:
    """A cell of the column `key` as the table has it."""
    if value is None:
        return ""
    if key in ("name", "seeds"):
        return str(value)
    digits = {"boxes": 1, "parameters": 2, "multiply_adds": 2, "milliseconds": 1, "minutes": 1, "megabytes": 0,
              "thousand_parameters": 1}
    return f"{value:.{digits.get(key, 3)}f}"
