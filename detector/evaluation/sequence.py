"""What the steps of the sequence bring."""

from __future__ import annotations

import numpy as np

from detector.evaluation.coco_map import CocoMAP
from detector.evaluation.matches import Matches

POINTS = 8
"""Of the anytime curve."""


def anytime(metric: CocoMAP, matches: Matches) -> list[dict]:
    """AP and recall were the sequence cut after so many steps.

    Returns:
        A row a cut, at most `POINTS`, denser at the start: `steps`, `AP`, `AP50`, `recall` (IoU .5).
    """
    longest = int(matches.steps.max(initial=0)) + 1
    cuts = sorted({int(round(cut)) for cut in np.geomspace(1, longest, POINTS)})
    rows = []
    for cut in cuts:
        part = matches if cut == longest else Matches.of(metric, steps=cut)
        precision, found = part.average_precision()[0], part.found[:, 0]
        rows.append({
            "steps": cut, "AP": float(precision.mean()), "AP50": float(precision[0]),
            "recall": float(found.mean()) if len(found) else np.nan,
        })
    return rows


def steps(matches: Matches, thresholds: np.ndarray) -> list[dict]:
    """What every step does.

    Returns:
        A row a step, from 1: `images` that have it, `score` (the mean), `object` (the share of boxes with at least
        their class's threshold), `background` (the rest), `true positive` (the share that matched an object at IoU .5)
        and `found` (of all objects, the share matched at this step).
    """
    rows, true_positive, objects = [], matches.true_positive[:, 0], max(1, len(matches.object_labels))
    for step in range(int(matches.steps.max(initial=-1)) + 1):
        mine = matches.steps == step
        count = int(mine.sum())
        if not count:
            continue
        confident = float((matches.scores[mine] >= thresholds[matches.labels[mine]]).mean())
        rows.append({
            "step": step + 1, "images": count, "score": float(matches.scores[mine].mean()), "object": confident,
            "background": 1 - confident, "true positive": float(true_positive[mine].mean()),
            "found": float(true_positive[mine].sum() / objects),
        })
    return rows
