"""Tables of `detector.classification.evaluation.analysis`, drawn."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from detector.evaluation import plots

MOST_MARKED = 40
"""Of more steps than these, each has no mark of its own."""


def confusion(rows: list[dict], file: Path) -> None:
    """Images by their class and the class predicted, as shares of each row."""
    plots.confusion(rows, file, across="predicted class", down="true class", title="Confusion")


def calibration(rows: list[dict], file: Path) -> None:
    """What probabilities promise and what they keep."""
    plots.calibration(
        rows, file, count="images", promise="probability", kept=[("accuracy", "accuracy")],
        title="Calibration of the predicted class",
    )


def steps(rows: list[dict], file: Path) -> None:
    """Accuracy and probabilities, if reading stopped at each step."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    at, marker = [row["step"] for row in rows], "." if len(rows) <= MOST_MARKED else None
    for name, label, style in (
        ("accuracy", "accuracy", 4), ("macro accuracy", "macro accuracy", 9),  # often the same: both can be seen
        ("true class", "probability of the true class", 2), ("settled", "predicted class changes no more", 22),
        ("predicted class", "probability of the predicted class", 5),
    ):
        axes.plot(at, [row[name] for row in rows], label=label, marker=marker, **plots.STYLES[style])
    axes.set(xlabel="step", xlim=(0.5, len(rows) + 0.5), ylim=(0, 1.02), title="If reading stopped at this step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    plots.finish(figure, axes, file)
