"""Tables of `detector.evaluation.analysis`, drawn."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from detector.pictures.drawing import COLOURS

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

STYLES: list[dict] = [{"color": colour if colour != "#FFFFFF" else "#000000", "linestyle": line}
                      for line in ("-", "--", ":", "-.") for colour in COLOURS]
MOST_CLASSES = 40


def precision_recall(rows: list[dict], file: Path) -> None:
    """Precision against recall at IoU .5, a line a class."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    names = [key for key in rows[0] if key != "recall"]
    for number, name in enumerate(names):
        values = [row[name] for row in rows]
        axes.plot([row["recall"] for row in rows], values, label=f"{name} {np.mean(values):.2f}",
                  **STYLES[number % len(STYLES)])
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall at IoU .5")
    if 0 < len(names) <= MOST_CLASSES:
        axes.legend(title="class, AP50", loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small",
                    ncols=1 + len(names) // 21)
    finish(figure, axes, file)


def crowding(rows: list[dict], file: Path) -> None:
    """AP and recall in bins, the number of objects under each."""
    heading = next(iter(rows[0]))
    figure, axes = plt.subplots(figsize=(7, 3.6))
    at = np.arange(len(rows))
    for number, key in enumerate(("AP", "AP50", "recall")):
        axes.bar(at + (number - 1) * 0.27, [row[key] for row in rows], 0.25, label=key, color=COLOURS[number])
    axes.set_xticks(at, [f"{row[heading]}\n{row['objects']} objects" for row in rows])
    axes.set(ylim=(0, 1), xlabel=heading, title=f"AP and recall (IoU .5) by {heading}")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    finish(figure, axes, file)


def mistakes(rows: list[dict], file: Path) -> None:
    """What AP50 would gain, kind by kind."""
    figure, axes = plt.subplots(figsize=(7, 3))
    gains = [0.0 if np.isnan(row["ΔAP50"]) else row["ΔAP50"] for row in rows]
    bars = axes.barh([row["mistake"] for row in rows], gains, color=COLOURS[: len(rows)])
    axes.bar_label(bars, [f" {gain:.3f} ({row['count']})" for gain, row in zip(gains, rows)])
    axes.invert_yaxis()
    axes.set(xlabel="ΔAP50: gain were they fixed (and their number)", xlim=(0, max([*gains, 0.01]) * 1.25),
             title="Kinds of mistakes")
    finish(figure, axes, file)


def confusion(
    rows: list[dict], file: Path, *, across: str = "predicted as", down: str = "object",
    title: str = "Confusion (boxes from the chosen scores on)",
) -> None:
    """Objects by the class of the box that shows them, as shares of each row.

    Args:
        rows: the first cell of each is its name.
        across, down: what columns and rows are.
    """
    names = [next(iter(row.values())) for row in rows]
    counts = np.array([[row[name] for name in names] for row in rows])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(50.0, max(3.5, 0.55 * len(names) + 1.5))
    figure, axes = plt.subplots(figsize=(side + 1, side))
    drawn = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    shown = [literal(name) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), shown)
    if len(names) <= 25:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(column, row, count, ha="center", va="center", fontsize="small",
                          color="black" if shares[row, column] > 0.6 else "white")
    axes.set(xlabel=across, ylabel=down, title=title)
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="share of the row")
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close(figure)


def calibration(
    rows: list[dict], file: Path, *, count: str = "detections", promise: str = "score",
    kept: Sequence[tuple[str, str]] = (("precision", "precision at IoU .5"),
                                       ("quality", "thresholds .50 … .95 matched")),
    title: str = "Calibration of scores",
) -> None:
    """What scores promise and what they keep.

    Args:
        rows: of `detector.evaluation.calibration.by_bin`.
        count, promise: their columns of that name.
        kept: columns of what is kept, at most two, and what they are called.
    """
    some = [row for row in rows if row[count]]
    figure, axes = plt.subplots(figsize=(5.5, 4))
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as promised")
    for (name, label), marker, colour in zip(kept, "os", (COLOURS[4], COLOURS[0])):
        axes.plot([r[promise] for r in some], [r[name] for r in some], marker=marker, color=colour, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=promise, ylabel="share", title=title)
    axes.legend(fontsize="small")
    finish(figure, axes, file)


def anytime(rows: list[dict], file: Path) -> None:
    """AP and recall against the number of steps decoded."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for number, key in enumerate(("AP", "AP50", "recall")):
        axes.plot([row["steps"] for row in rows], [row[key] for row in rows], marker="o", label=key, **STYLES[number])
    axes.set(xlabel="steps decoded", ylim=(0, 1), title="AP and recall (IoU .5), were the sequence cut")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    finish(figure, axes, file)


def steps(rows: list[dict], file: Path) -> None:
    """What each step does."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    at = [row["step"] for row in rows]
    axes.bar(at, [row["background"] for row in rows], 1.0, color="#DDDDDD", label="background")
    axes.plot(at, [row["score"] for row in rows], label="mean score", **STYLES[0])
    axes.plot(at, [row["true positive"] for row in rows], label="true positive at IoU .5", **STYLES[2])
    axes.plot(at, np.cumsum([row["found"] for row in rows]), label="objects found so far", **STYLES[4])
    axes.set(xlabel="step", ylim=(0, 1.02), title="What the steps predict")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    finish(figure, axes, file)


def counting(rows: list[dict], file: Path) -> None:
    """How far off counts are, class by class."""
    rows = rows[:MOST_CLASSES]
    figure, axes = plt.subplots(figsize=(max(4.5, 0.35 * len(rows) + 3), 3.4))
    at = np.arange(len(rows))
    for offset, name, colour in ((-0.2, "mean absolute error", COLOURS[0]), (0.2, "bias", COLOURS[4])):
        axes.bar(at + offset, [row[name] for row in rows], 0.38, label=name, color=colour)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(at, [row["class"] for row in rows], rotation=45, ha="right")
    axes.set(ylabel="boxes less objects, an image", title="Counting")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    finish(figure, axes, file)


def training(files: Sequence[Path], file: Path) -> None:
    """Losses and validation AP (of classifiers: accuracy) against epochs, from the `metrics.csv` of a run's starts, the
    earliest first.

    Nothing is drawn where they hold no loss.
    """
    losses: dict[str, dict[int, float]] = {}
    scores: dict[str, dict[int, float]] = {}
    for one in files:
        with one.open() as lines:
            for row in csv.DictReader(lines):
                for key, value in row.items():
                    kind, _, name = key.partition("/")
                    if value and kind == "train" and name != "loss":
                        losses.setdefault(name, {})[int(row["epoch"]) + 1] = float(value)
                    if value and key in ("val/AP", "val/AP50", "val/accuracy", "val/macro_accuracy"):
                        scores.setdefault(name, {})[int(row["epoch"]) + 1] = float(value)
    if not losses:
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), sharex=True)
    for axes, curves in ((left, losses), (right, scores)):
        for (name, points), style in zip(curves.items(), STYLES):
            axes.plot(sorted(points), [points[epoch] for epoch in sorted(points)], marker=".", label=name, **style)
        axes.set(xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if curves:
            axes.legend(fontsize="small")
    left.set(title="Losses", yscale="log")
    right.set(title="On validation images", ylim=(0, 1))
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close(figure)


def literal(name: str) -> str:
    """A name as it is, in which matplotlib would take what stands between dollars for a formula."""
    return name.replace("$", r"\$")


def finish(figure, axes, file: Path) -> None:
    """A light grid; write and close."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close(figure)
