"""Whether scores mean what they say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Shaped

from detector.evaluation.matches import Matches


def calibration(matches: Matches, bins: int = 10) -> list[dict]:
    """Scores against what they promise: the precision of their detections, and how well these lie.

    Returns:
        A row for each bin of scores: `from`, `to`, `detections`, `score` (the mean), `precision` (at IoU .5) and
        `quality` (the share of the ten thresholds .50 … .95 matched, the mean).
    """
    counts = ~matches.ignored[:, 0]
    true_positive = matches.true_positive[counts]
    kept = {"precision": true_positive[:, 0], "quality": true_positive}
    return by_bin(matches.scores[counts], kept, count="detections", promise="score", bins=bins)


def by_bin(
    promised: Float[np.ndarray, "N"], kept: Mapping[str, Shaped[np.ndarray, "N ..."]], *, count: str, promise: str,
    bins: int = 10,
) -> list[dict]:
    """What is promised (0 … 1), in bins of equal width, and what is kept of it.

    Returns:
        A row for each bin: `from`, `to`, under `count` the number in it, under `promise` the mean of what is promised,
        and under each name of `kept` the mean of that; nan in an empty bin.
    """
    bin_of = np.minimum((promised * bins).astype(int), bins - 1)
    rows = []
    for number in range(bins):
        mine = bin_of == number
        means = {
            name: float(values[mine].mean()) if mine.any() else np.nan
            for name, values in {promise: promised, **kept}.items()
        }
        rows.append({"from": number / bins, "to": (number + 1) / bins, count: int(mine.sum()), **means})
    return rows


def calibration_error(
    rows: list[dict], *, count: str = "detections", promise: str = "score", kept: str = "precision"
) -> float:
    """The mean distance of what is promised and what is kept, of score and precision, weighed by the number in each bin
    (ECE, Guo et al. 2017, equation 3)."""
    total = sum(row[count] for row in rows)
    if not total:
        return float("nan")
    return sum(row[count] * abs(row[promise] - row[kept]) for row in rows if row[count]) / total
