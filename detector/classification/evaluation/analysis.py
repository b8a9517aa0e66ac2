"""A tested classifier explained: every table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from detector.classification.evaluation import plots
from detector.classification.evaluation.answers import Answers
from detector.evaluation.analysis import Table
from detector.evaluation.bootstrap import bootstrap
from detector.evaluation.calibration import by_bin, calibration_error

SCORES = {
    "accuracy": "accuracy", "macro_accuracy": "macro accuracy", "cross_entropy": "cross-entropy",
    "calibration_error": "calibration error",
}
"""Scores of all classes together, and what they are called."""
PICTURES = {"confusion": plots.confusion, "calibration": plots.calibration, "steps": plots.steps}
"""How a table is drawn, where it is: for `write_tables`."""


def analyse(
    answers: Answers, class_names: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Table]:
    """Every table by its name.

    Args:
        class_names: of the labels 0 … C-1.
        resamples: number of resamples from which the bounds of scores come; 0: no bounds.
        seed: of the resamples.
    """
    scores, matrix = scores_of(answers, class_names), confusion(answers)
    of_score = bounds(answers, resamples, seed) if resamples else {}
    wrong = matrix - np.diag(matrix.diagonal())
    return {
        "scores": [
            {"score": meaning, "value": scores[name], **of_score.get(name, {"low": np.nan, "high": np.nan})}
            for name, meaning in SCORES.items()
        ],
        "classes": [
            {"class": name, **row, "taken for": class_names[others.argmax()] if others.any() else None}
            for (name, row), others in zip(scores["per_class"].items(), wrong)
        ],
        "confusion": [
            {"true class": name, **dict(zip(class_names, row))} for name, row in zip(class_names, matrix.tolist())
        ],
        "calibration": calibration(answers),
        "steps": steps(answers),
    }


def scores_of(answers: Answers, class_names: Sequence[str]) -> dict:
    """The scores as plain numbers.

    Returns:
        `accuracy`, `macro_accuracy`, `cross_entropy` (the mean of -log p of the true class, p at least 1e-12),
        `calibration_error` of ten bins, and `per_class` for each name its `images`, `accuracy` (which is its recall),
        `precision` and `F1`; nan where a class has no image (accuracy), is never predicted (precision), or both (F1).
    """
    matrix = confusion(answers)
    of_true = answers.probabilities[np.arange(len(answers.labels)), answers.labels]
    return {
        "accuracy": float(answers.accuracy()[0]),
        "macro_accuracy": float(answers.macro_accuracy()[0]),
        "cross_entropy": float(-np.log(of_true.clip(1e-12)).mean()),
        "calibration_error": calibration_error(
            calibration(answers), count="images", promise="probability", kept="accuracy"
        ),
        "per_class": {
            name: {"images": images, "accuracy": _share(right, images), "precision": _share(right, predicted),
                   "F1": _share(2 * right, images + predicted)}
            for name, right, images, predicted in zip(
                class_names, matrix.diagonal().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
            )
        },
    }


def bounds(answers: Answers, resamples: int, seed: int) -> dict[str, dict[str, float]]:
    """Of accuracy and macro accuracy, `low` and `high` of the 95 % percentile interval of the bootstrap over images
    (Efron 1979)."""
    weights = bootstrap(len(answers.labels), resamples, seed)
    drawn = {"accuracy": answers.accuracy(weights), "macro_accuracy": answers.macro_accuracy(weights)}
    return {
        name: dict(zip(("low", "high"), np.percentile(values, [2.5, 97.5]).tolist())) for name, values in drawn.items()
    }


def confusion(answers: Answers) -> Int64[np.ndarray, "C C"]:
    """The number of images by their class (rows) and the class predicted (columns)."""
    classes = answers.beliefs.shape[-1]
    pairs = np.bincount(answers.labels * classes + answers.predicted, minlength=classes**2)
    return pairs.reshape(classes, classes)


def calibration(answers: Answers) -> Table:
    """The probability of the predicted class, in ten bins, against the accuracy: `from`, `to`, `images`, `probability`
    (the mean) and `accuracy`."""
    right = answers.predicted == answers.labels
    return by_bin(answers.probabilities.max(-1), {"accuracy": right}, count="images", promise="probability")


def steps(answers: Answers) -> Table:
    """What would be answered if reading stopped at each step.

    Returns:
        A row for each step, from 1: `accuracy`, `macro accuracy`, the mean probability of the `true class` and of the
        `predicted class`, and `settled`, the share of images whose predicted class changes no more.
    """
    of_true = np.take_along_axis(answers.beliefs, answers.labels[:, None, None], -1)[..., 0]
    last = answers.beliefs.argmax(-1) == answers.predicted[:, None]
    settled = np.logical_and.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    rows = []
    for step in range(1, answers.beliefs.shape[1] + 1):
        stopped = Answers(answers.image_ids, answers.labels, answers.beliefs[:, :step])
        rows.append({
            "step": step, "accuracy": float(stopped.accuracy()[0]),
            "macro accuracy": float(stopped.macro_accuracy()[0]),
            "true class": float(of_true[:, step - 1].mean()),
            "predicted class": float(stopped.probabilities.max(-1).mean()),
            "settled": float(settled[:, step - 1].mean()),
        })
    return rows


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
