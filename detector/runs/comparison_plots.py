"""Tables and runs of `detector.runs.comparison`, drawn; False where there is nothing to draw."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np

from detector.evaluation.plots import STYLES, finish
from detector.runs.comparison import Run, besides_data, mean, of_data
from detector.runs.comparison_table import HEADINGS

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

MARKERS = {"-": "o", "--": "s", ":": "D", "-.": "^"}
"""Of the linestyles of `STYLES`: points without lines are told apart by them."""


def epochs(rows: dict[str, list[Run]], file: Path) -> bool:
    """Validation AP (of classifiers: accuracy) against epochs, the mean over seeds."""
    curves = {name: _mean_curve([run.curve for run in runs]) for name, runs in rows.items()}
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if not curves:
        return False
    figure, panels, styles = _panels(curves)
    for name, curve in curves.items():
        panels[of_data(name)].plot(*zip(*curve), markersize=4, **styles[besides_data(name)])
    for axes in panels.values():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epochs")
    _finish(figure, styles, file, title=f"{next(iter(rows.values()))[0].measure} on val against epochs")
    return True


def cost(rows: list[dict], file: Path) -> bool:
    """AP against the time of an image where it was measured, else against MACs; not where all cost the same."""
    key = "milliseconds" if all(row.get("milliseconds") for row in rows) else "multiply_adds"
    rows = [row for row in rows if row.get(key)]
    if len({row[key] for row in rows}) < 2:
        return False
    figure, panels, styles = _panels(row["name"] for row in rows)
    measure = "AP" if "AP" in rows[0] else "accuracy"
    for row in rows:
        spread, value = None, row[measure]
        if row.get(f"{measure}_low") is not None:
            spread = [[max(0, value - row[f"{measure}_low"])], [max(0, row[f"{measure}_high"] - value)]]
        style = styles[besides_data(row["name"])]
        panels[of_data(row["name"])].errorbar(row[key], value, spread, capsize=3, **{**style, "linestyle": "none"})
    for axes in panels.values():
        axes.set(xlabel=HEADINGS[key])
    _finish(figure, styles, file, title=f"{measure} on test against cost; bars: 95 % over test images", lines=False)
    return True


def crowding(rows: dict[str, list[Run]], file: Path) -> bool:
    """AP, and recall of overlapping objects, against the crowding of shapes, a line for each of the other options."""
    lines: dict[str, dict[float, list[Run]]] = {}
    for name, runs in rows.items():
        degree = runs[0].options.get("data.dataset.crowding")
        if degree is not None:
            lines.setdefault(besides_data(name), {}).setdefault(float(degree), []).extend(runs)
    if not lines or max(map(len, lines.values())) < 2:
        return False
    figure, (precision, recall) = plt.subplots(1, 2, figsize=(12, 4.5), sharex=True)
    styles = _styles(lines)
    for name, points in lines.items():
        at = sorted(points)
        aps = [mean(run.record["metrics"]["AP"] for run in points[x]) for x in at]
        recalls = [mean(run.record["crowding"]["decoder"]["recall_overlapping"] for run in points[x]) for x in at]
        precision.plot(at, aps, **styles[name])
        recall.plot(at, [np.nan if r is None else r for r in recalls], **styles[name])
    precision.set(xlabel="crowding", title="AP")
    recall.set(xlabel="crowding", title="Recall of objects overlapped by more than .3")
    _finish(figure, styles, file, title="On test, against crowding")
    return True


def _panels(names: Iterable[str]) -> tuple[plt.Figure, dict[str, plt.Axes], dict[str, dict]]:
    """A panel for each set of data among the names of rows, and a style for whatever else is in them."""
    names = list(names)
    data = sorted({of_data(name) for name in names})
    figure, axes = plt.subplots(1, len(data), figsize=(7 if len(data) == 1 else 5 * len(data), 4.5), squeeze=False)
    for panel, title in zip(axes[0], data):
        panel.set_title(title)
    return figure, dict(zip(data, axes[0])), _styles(map(besides_data, names))


def _styles(labels: Iterable[str]) -> dict[str, dict]:
    return {label: {**style, "marker": MARKERS[style["linestyle"]]}
            for label, style in zip(sorted(set(labels)), cycle(STYLES))}


def _finish(figure: plt.Figure, styles: dict[str, dict], file: Path, *, title: str, lines: bool = True) -> None:
    """One legend for all panels; write and close."""
    shown_as = [{**style, **({} if lines else {"linestyle": "none"})} for style in styles.values()]
    figure.axes[-1].legend(
        [Line2D([], [], **style) for style in shown_as],
        ["\n".join(textwrap.wrap(name or "all", 40)) for name in styles],
        loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small",
    )
    figure.suptitle(title)
    figure.tight_layout()
    for axes in figure.axes[:-1]:
        axes.grid(alpha=0.3)
    finish(figure, figure.axes[-1], file)


def _mean_curve(curves: list[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    """At the epochs that all have."""
    values = [dict(curve) for curve in curves]
    shared = sorted(set.intersection(*(set(one) for one in values)))
    return [(epoch, float(np.mean([one[epoch] for one in values]))) for epoch in shared]
