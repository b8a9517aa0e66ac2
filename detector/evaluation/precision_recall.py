"""Precision against recall, a curve a class."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


def plot_precision_recall(curves: dict[str, list[float]], per_class: dict[str, dict], file: Path) -> None:
    """Draw the curves at IoU .5.

    Args:
        curves: by class name, precision at the recalls 0, .01, … 1; -1 where the class has no objects.
        per_class: by class name, at least `AP50`.
        file: PNG to write.
    """
    figure, axes = plt.subplots(figsize=(7, 5))
    for number, (name, precision) in enumerate(curves.items()):
        if min(precision) >= 0:
            axes.plot(
                np.linspace(0, 1, len(precision)), precision, label=f"{name} {per_class[name]['AP50']:.2f}",
                color=plt.get_cmap("tab10" if len(curves) <= 10 else "tab20")(number % 20),
                linestyle="-" if number < 20 else "--",
            )
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall at IoU .5")
    axes.grid(alpha=0.3)
    if len(curves) <= 40:
        axes.legend(title="class, AP50", loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small",
                    ncols=1 + len(curves) // 21)
    figure.savefig(file, dpi=120, bbox_inches="tight")
    plt.close(figure)
