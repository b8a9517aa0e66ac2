"""What kind of mistake each wrong detection is, and what it costs (after TIDE, Bolya et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from detector.evaluation.matches import Matches, by_image, keep, pairwise_iou

KINDS = ["classification", "localisation", "both", "duplicate", "background", "missed"]
MEANINGS = {
    "classification": "IoU of at least .5 with an object of another class",
    "localisation": "IoU from .1 to .5 with an object of its class",
    "both": "IoU from .1 to .5 with an object of another class",
    "duplicate": "IoU of at least .5 with an object that a detection of higher score found",
    "background": "IoU below .1 with every object",
    "missed": "an object that no detection shows, not even one of the wrong class or place",
}
FOREGROUND, BACKGROUND = 0.5, 0.1
TRUE_POSITIVE, IGNORED = "true positive", "ignored"


@dataclass
class Mistakes:
    """The mistakes of a set of detections at IoU .5."""

    matches: Matches
    """With the one threshold .5."""
    kind: list[str]
    """Of each detection: one of `KINDS` but `missed`, or `true positive`, or `ignored`."""
    intended: Int64[np.ndarray, "D"]
    """The object that a classification or localisation error would have found; -1: none."""
    missed: Bool[np.ndarray, "G"]
    """Objects neither found nor intended by a detection."""

    @staticmethod
    def of(matches: Matches) -> Mistakes:
        """Sort the detections, in the order of TIDE's code: localisation, classification, duplicate, background, both.

        A detection that matched an object that does not count is no mistake.
        """
        one = replace(matches, matched=matches.matched[:, :1], ignored=matches.ignored[:, :1])
        kind = np.full(len(one.scores), TRUE_POSITIVE, dtype=object)
        kind[one.ignored[:, 0]] = IGNORED
        intended = np.full(len(one.scores), -1)
        wrong = np.flatnonzero(~one.true_positive[:, 0] & ~one.ignored[:, 0])
        for detections, objects in by_image(one.images[wrong], one.object_images, len(one.image_ids)):
            mine = wrong[detections]
            if not len(objects):
                kind[mine] = "background"
                continue
            iou = pairwise_iou(one.boxes[mine], one.object_boxes[objects])
            same = one.labels[mine][:, None] == one.object_labels[objects][None]
            own, other = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
            own_most, other_most = own.max(1), other.max(1)
            cases = [
                (own_most >= BACKGROUND) & (own_most < FOREGROUND), other_most >= FOREGROUND, own_most >= FOREGROUND,
                iou.max(1) < BACKGROUND,
            ]
            kind[mine] = np.select(cases, ["localisation", "classification", "duplicate", "background"], "both")
            intended[mine] = np.select(cases[:2], [objects[own.argmax(1)], objects[other.argmax(1)]], -1)
        missed = ~one.found[:, 0]
        missed[intended[intended >= 0]] = False
        return Mistakes(one, kind.tolist(), intended, missed)

    def count(self) -> dict[str, int]:
        """How many of each kind there are."""
        return {**{kind: self.kind.count(kind) for kind in KINDS[:-1]}, "missed": int(self.missed.sum())}

    def fixed(self, kind: str) -> Matches:
        """The detections and objects with the mistakes of one kind fixed.

        A wrong class or box becomes a true positive where the object it intended was not found otherwise, the one of
        highest score first; the others, and mistakes of the remaining kinds, are taken away; missed objects no longer
        count.
        """
        one = self.matches
        if kind == "missed":
            return keep(one, np.ones(len(one.scores), dtype=bool), ~self.missed)
        these = np.array([k == kind for k in self.kind], dtype=bool)
        stays = ~these
        labels, boxes, matched, found = one.labels.copy(), one.boxes.copy(), one.matched.copy(), one.found
        fixable = np.flatnonzero(these & (self.intended >= 0))
        for i in fixable[np.argsort(-one.scores[fixable], kind="stable")]:
            target = self.intended[i]
            if found[target, 0]:
                continue
            stays[i] = found[target] = True
            matched[i] = target
            labels[i] = one.object_labels[target]
            if kind == "localisation":
                boxes[i] = one.object_boxes[target]
        return keep(replace(one, labels=labels, boxes=boxes, matched=matched), stays, np.ones(len(found), dtype=bool))

    def gains(self) -> dict[str, float]:
        """ΔAP50: its rise were the mistakes of each kind fixed, and no others."""
        now = _ap(self.matches)
        return {kind: _ap(self.fixed(kind)) - now for kind in KINDS}


def _ap(matches: Matches) -> float:
    return float(matches.average_precision()[0, 0])
