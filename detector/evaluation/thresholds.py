"""From which score on a detection is worth showing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from detector.evaluation.matches import Matches


def best_thresholds(
    matches: Matches, classes: int, least_found: int = 1,
) -> tuple[Float[np.ndarray, "C"], Float[np.ndarray, "C"]]:
    """The score from which each class's F1 at IoU .5 is largest, and that F1.

    A threshold lies halfway between the last score it lets through and the next, so that it does not depend on
    rounding. A class of which fewer than `least_found` objects are found from that score on gets 0.5: where little is
    found, F1 is best when nearly every box is let through. Where nothing is found, F1 is 0.
    """
    thresholds, f1 = np.full(classes, 0.5), np.zeros(classes)
    for label in range(classes):
        mine = np.flatnonzero((matches.labels == label) & ~matches.ignored[:, 0])
        objects = int((matches.object_labels == label).sum())
        mine = mine[np.argsort(-matches.scores[mine], kind="stable")]
        scores = matches.scores[mine]
        hits = np.cumsum(matches.true_positive[mine, 0])
        value = 2 * hits / np.maximum(np.arange(1, len(mine) + 1) + objects, 1)
        value[np.append(scores[1:] == scores[:-1], False)[: len(mine)]] = -1.0  # equal scores pass together
        if not len(mine) or value.max() <= 0:
            continue
        best = int(value.argmax())
        f1[label] = value[best]
        if hits[best] >= least_found:
            following = scores[best + 1] if best + 1 < len(mine) else 0.0
            thresholds[label] = (scores[best] + following) / 2
    return thresholds, f1
