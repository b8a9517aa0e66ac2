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
        scores, hits, wrong = matches.by_score(matches.labels == label)
        value = 2 * hits / np.maximum(hits + wrong + (matches.object_labels == label).sum(), 1)
        if not len(scores) or value.max() <= 0:
            continue
        best = int(value.argmax())
        f1[label] = value[best]
        if hits[best] >= least_found:
            following = scores[best + 1] if best + 1 < len(scores) else 0.0
            thresholds[label] = (scores[best] + following) / 2
    return thresholds, f1
