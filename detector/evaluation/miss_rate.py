"""The log-average miss rate, by which detectors of people in crowds are compared."""

from __future__ import annotations

import numpy as np

from detector.evaluation.matches import Matches

FALSE_POSITIVES = np.logspace(-2, 0, 9)
"""An image: where the miss rate is read off."""


def miss_rate(matches: Matches) -> float:
    """MR^-2 at IoU .5 (Dollár et al. 2012, section 4.2; CrowdHuman, Shao et al. 2018): 0 … 1, lower is better.

    Class by class, the geometric mean of the miss rates at nine numbers of false positives an image, evenly spaced from
    10^-2 to 10^0 in log space; then the mean over classes that have objects, nan where none has. Each is that of the
    lowest score at which there are not more false positives, 1 where there always are; equal scores pass together.

    As in the code of Dollár and in that of CrowdHuman's authors, detections that matched an ignored object do not
    count. Where the two differ, this follows Dollár: a number of false positives that is stepped over is not reached
    (the other reads the miss rate of the first detection that reaches it), and a miss rate of 0 counts as 10^-10.
    """
    per_class = []
    for label in np.unique(matches.object_labels):
        _, found, wrong = matches.by_score(matches.labels == label)
        at = np.searchsorted(wrong / len(matches.image_ids), FALSE_POSITIVES, side="right")
        missed = 1 - np.append(0, found)[at] / (matches.object_labels == label).sum()
        per_class.append(np.exp(np.log(np.maximum(missed, 1e-10)).mean()))
    return float(np.mean(per_class)) if per_class else float("nan")
