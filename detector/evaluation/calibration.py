"""Whether scores mean what they say."""

from __future__ import annotations

import numpy as np

from detector.evaluation.matches import Matches


def calibration(matches: Matches, bins: int = 10) -> list[dict]:
    """Scores against what they promise: the precision of their detections, and how well these lie.

    Returns:
        A row for each bin of scores: `from`, `to`, `detections`, `score` (the mean), `precision` (at IoU .5) and
        `quality` (the share of the ten thresholds .50 … .95 matched, the mean).
    """
    counts = ~matches.ignored[:, 0]
    scores, true_positive = matches.scores[counts], matches.true_positive[counts]
    bin_of = np.minimum((scores * bins).astype(int), bins - 1)
    rows = []
    for number in range(bins):
        mine = bin_of == number
        some = bool(mine.any())
        rows.append({
            "from": number / bins, "to": (number + 1) / bins, "detections": int(mine.sum()),
            "score": float(scores[mine].mean()) if some else np.nan,
            "precision": float(true_positive[mine, 0].mean()) if some else np.nan,
            "quality": float(true_positive[mine].mean()) if some else np.nan,
        })
    return rows


def calibration_error(rows: list[dict]) -> float:
    """The mean distance of score and precision, weighed by detections (ECE, Guo et al. 2017, equation 3)."""
    total = sum(row["detections"] for row in rows)
    if not total:
        return float("nan")
    return sum(row["detections"] * abs(row["score"] - row["precision"]) for row in rows if row["detections"]) / total
