"""Tables and runs of `detector.evaluation.comparison`, drawn; False where there is nothing to draw."""

from __future__ import annotations

import textwrap
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np

from detector.evaluation.comparison import COLUMNS, Run, besides_data, mean, shown
from detector.evaluation.plots import STYLES, finish

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

MARKERS = {"-": "o", "--": "s", ":": "D", "-.": "^"}
"""For points, in place of the linestyles of `STYLES`."""


def epochs(rows: dict[str, list[Run]], file: Path) -> bool:
    """Validation AP against epochs, the mean over seeds."""
    curves = {name: _mean_curve([run.curve for run in runs]) for name, runs in rows.items()}
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if not curves:
        return False
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for (name, curve), style in zip(sorted(curves.items()), cycle(STYLES)):
        axes.plot(*zip(*curve), label=_folded(name), marker="o", markersize=4, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epochs", ylabel="AP on val", title="AP against epochs")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    finish(figure, axes, file)
    return True


def cost(rows: list[dict], file: Path) -> bool:
    """AP against the time of an image where it was measured, else against multiply-adds; not where all cost the same."""
    key = "milliseconds" if all(row.get("milliseconds") for row in rows) else "multiply_adds"
    rows = [row for row in rows if row.get(key)]
    if len({shown(key, row[key]) for row in rows}) < 2:
        return False
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for row, style in zip(sorted(rows, key=lambda row: row["name"]), cycle(STYLES)):
        spread = None
        if row.get("AP_low") is not None:
            spread = [[max(0, row["AP"] - row["AP_low"])], [max(0, row["AP_high"] - row["AP"])]]
        axes.errorbar(row[key], row["AP"], spread, marker=MARKERS[style["linestyle"]], capsize=3, color=style["color"],
                      label=_folded(row["name"]), linestyle="none")
    axes.set(xlabel=COLUMNS[key], ylabel="AP on test", title="AP against cost; bars: 95 % over test images")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    finish(figure, axes, file)
    return True


def crowding(rows: dict[str, list[Run]], file: Path) -> bool:
    """AP, and recall of overlapping objects, against the crowding of shapes, a line for each of the other options."""
    lines: dict[str, dict[float, list[Run]]] = {}
    for name, runs in rows.items():
        degree = runs[0].options.get("data.dataset.crowding")
        if degree is not None:
            lines.setdefault(besides_data(name) or "all", {}).setdefault(float(degree), []).extend(runs)
    if not lines or max(map(len, lines.values())) < 2:
        return False
    figure, both = plt.subplots(1, 2, figsize=(12, 4.5), sharex=True)
    for (name, points), style in zip(sorted(lines.items()), cycle(STYLES)):
        at = sorted(points)
        aps = [mean(run.record["metrics"]["AP"] for run in points[x]) for x in at]
        recalls = [mean(run.record["crowding"]["decoder"]["recall_overlapping"] for run in points[x]) for x in at]
        both[0].plot(at, aps, marker="o", **style)
        both[1].plot(at, [np.nan if r is None else r for r in recalls], marker="o", label=_folded(name), **style)
    both[0].set(xlabel="crowding", ylabel="AP on test", title="AP against crowding")
    both[1].set(xlabel="crowding", ylabel="recall at IoU .5", title="Recall of objects overlapped by more than .3")
    both[0].grid(alpha=0.3)
    both[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    finish(figure, both[1], file)
    return True


def _folded(name: str) -> str:
    """For a legend."""
    return "\n".join(textwrap.wrap(name, 40))


def _mean_curve(curves: list[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    """At the epochs that all have."""
    values = [dict(curve) for curve in curves]
    shared = sorted(set.intersection(*(set(one) for one in values)))
    return [(epoch, float(np.mean([one[epoch] for one in values]))) for epoch in shared]
