"""The tables of a tested classifier, on one small example worked by hand.

| image | shows | after step 1 | after step 2 | named |
| --- | --- | --- | --- | --- |
| 0 | ant | 1/2, 1/4, 1/4 | 3/4, 1/8, 1/8 | ant |
| 1 | ant | 1/4, 1/2, 1/4 | 1/2, 1/4, 1/4 | ant |
| 2 | ant | 1/2, 1/4, 1/4 | 1/4, 1/2, 1/4 | bee |
| 3 | bee | 1/4, 1/2, 1/4 | 1/16, 7/8, 1/16 | bee |
| 4 | bee | 1/2, 1/4, 1/4 | 1/8, 3/4, 1/8 | bee |
| 5 | cat | 1/4, 1/4, 1/2 | 1/2, 1/4, 1/4 | ant |
"""

from math import log, nan

import numpy as np
import pytest
from test_answers import answers_of, random_answers
from torch import from_numpy
from torchmetrics.functional.classification import multiclass_calibration_error

from detector.classification.evaluation.analysis import analyse, confusion, scores_of, steps
from detector.classification.evaluation.answers import Answers

NAMES = ["ant", "bee", "cat"]


@pytest.fixture
def answers() -> Answers:
    beliefs = np.array([
        [[2, 1, 1], [3, 0.5, 0.5]], [[1, 2, 1], [2, 1, 1]], [[2, 1, 1], [1, 2, 1]],
        [[1, 2, 1], [0.25, 3.5, 0.25]], [[2, 1, 1], [0.5, 3, 0.5]], [[1, 1, 2], [2, 1, 1]],
    ]) / 4
    return Answers(np.arange(6), np.array([0, 0, 0, 1, 1, 2]), beliefs)


def test_scores(answers):
    rows = {row["score"]: row for row in analyse(answers, NAMES)["scores"]}
    assert {name: row["value"] for name, row in rows.items()} == pytest.approx({
        "accuracy": 4 / 6, "macro accuracy": (2 / 3 + 1 + 0) / 3,
        "cross-entropy": -(2 * log(3 / 4) + log(1 / 2) + 2 * log(1 / 4) + log(7 / 8)) / 6,
        "calibration error": (3 * (1 / 2 - 1 / 3) + 2 * (1 - 3 / 4) + 1 * (1 - 7 / 8)) / 6,
    })
    for name in ("cross-entropy", "calibration error"):
        assert np.isnan([rows[name]["low"], rows[name]["high"]]).all()


def test_bounds_are_those_of_images_drawn_again(answers):
    rows = {row["score"]: row for row in analyse(answers, NAMES, resamples=200, seed=3)["scores"]}
    drawn = {"accuracy": [], "macro accuracy": []}
    for weights in np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=200):
        taken = np.repeat(np.arange(6), weights)
        resample = Answers(answers.image_ids[taken], answers.labels[taken], answers.beliefs[taken])
        drawn["accuracy"].append(resample.accuracy()[0])
        drawn["macro accuracy"].append(resample.macro_accuracy()[0])
    for name, values in drawn.items():
        assert [rows[name]["low"], rows[name]["high"]] == pytest.approx(np.percentile(values, [2.5, 97.5]))
    without = analyse(answers, NAMES, resamples=0)["scores"]
    assert np.isnan([row["low"] for row in without]).all()


def test_classes(answers):
    columns = ["class", "images", "accuracy", "precision", "F1", "taken for"]
    ant, bee, cat = analyse(answers, NAMES)["classes"]
    assert ant == pytest.approx(dict(zip(columns, ["ant", 3, 2 / 3, 2 / 3, 4 / 6, "bee"])))
    assert bee == pytest.approx(dict(zip(columns, ["bee", 2, 1.0, 2 / 3, 4 / 5, None])))
    assert cat == pytest.approx(dict(zip(columns, ["cat", 1, 0.0, nan, 0.0, "ant"])), nan_ok=True)


def test_confusion(answers):
    assert analyse(answers, NAMES)["confusion"] == [
        {"true class": "ant", "ant": 2, "bee": 1, "cat": 0}, {"true class": "bee", "ant": 0, "bee": 2, "cat": 0},
        {"true class": "cat", "ant": 1, "bee": 0, "cat": 0},
    ]


def test_calibration(answers):
    rows = analyse(answers, NAMES)["calibration"]
    assert [(row["from"], row["to"]) for row in rows] == [(n / 10, (n + 1) / 10) for n in range(10)]
    assert [row["images"] for row in rows] == [0, 0, 0, 0, 0, 3, 0, 2, 1, 0]
    assert [row["probability"] for row in rows if row["images"]] == pytest.approx([1 / 2, 3 / 4, 7 / 8])
    assert [row["accuracy"] for row in rows if row["images"]] == pytest.approx([1 / 3, 1, 1])
    assert np.isnan([rows[0]["probability"], rows[0]["accuracy"]]).all()


def test_steps(answers):
    first, second = steps(answers)
    assert first == pytest.approx({
        "step": 1, "accuracy": 4 / 6, "macro accuracy": (2 / 3 + 1 / 2 + 1) / 3, "true class": 2.5 / 6,
        "predicted class": 1 / 2, "settled": 2 / 6,
    })
    assert second == pytest.approx({
        "step": 2, "accuracy": 4 / 6, "macro accuracy": 5 / 9, "true class": 3.375 / 6,
        "predicted class": 3.875 / 6, "settled": 1,
    })


def test_one_that_comes_back_was_not_settled():
    """Named a, b, a: right at the first step already, but not for good."""
    there, back = [0.75, 0.25], [0.25, 0.75]
    rows = steps(Answers(np.arange(1), np.array([0]), np.array([[there, back, there]])))
    assert [row["accuracy"] for row in rows] == [1, 0, 1] and [row["settled"] for row in rows] == [0, 0, 1]


def test_one_step(answers):
    (row,) = steps(Answers(answers.image_ids, answers.labels, answers.beliefs[:, :1]))
    assert row["settled"] == 1 and row["accuracy"] == pytest.approx(4 / 6)


def test_an_absent_class():
    tables = analyse(answers_of([0, 1, 1], [0, 1, 0], classes=3), NAMES)
    cat = tables["classes"][2]
    assert cat == pytest.approx(
        {"class": "cat", "images": 0, "accuracy": nan, "precision": nan, "F1": nan, "taken for": None}, nan_ok=True
    )
    assert tables["confusion"][2] == {"true class": "cat", "ant": 0, "bee": 0, "cat": 0}
    scores = {row["score"]: row["value"] for row in tables["scores"]}
    assert scores["macro accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert scores["cross-entropy"] == pytest.approx(-log(1e-12) / 3)  # the third image: the true class has p = 0


def test_a_class_that_is_only_predicted():
    scores = scores_of(answers_of([0, 1], [0, 2], classes=3), NAMES)
    assert scores["per_class"]["cat"] == pytest.approx(
        {"images": 0, "accuracy": nan, "precision": 0, "F1": 0}, nan_ok=True
    )


def test_perfect_answers_score_one():
    labels = [0, 1, 2, 1]
    tables = analyse(answers_of(labels, labels, classes=3), NAMES)
    assert [(row["value"], row["low"], row["high"]) for row in tables["scores"][:2]] == [(1, 1, 1)] * 2
    assert [row["value"] for row in tables["scores"][2:]] == [0, 0]
    for row in tables["classes"]:
        assert (row["accuracy"], row["precision"], row["F1"], row["taken for"]) == (1, 1, 1, None)


def test_scores_are_those_of_the_tables(answers):
    tables, scores = analyse(answers, NAMES), scores_of(answers, NAMES)
    for row, name in zip(tables["scores"], ("accuracy", "macro_accuracy", "cross_entropy", "calibration_error")):
        assert scores[name] == row["value"]
    for row in tables["classes"]:
        assert scores["per_class"][row["class"]]["F1"] == row["F1"]
    assert tables["steps"][-1]["accuracy"] == scores["accuracy"]


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_agrees(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    answers = random_answers(seed, images=40)
    scores, labels, predicted = scores_of(answers, ["a", "b", "c", "d"]), answers.labels, answers.predicted
    columns = zip(*(
        [row[name] for name in ("precision", "accuracy", "F1", "images")] for row in scores["per_class"].values()
    ))
    for ours, theirs in zip(columns, metrics.precision_recall_fscore_support(labels, predicted)):
        assert ours == pytest.approx(theirs)
    assert (confusion(answers) == metrics.confusion_matrix(labels, predicted)).all()
    assert scores["macro_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert scores["cross_entropy"] == pytest.approx(metrics.log_loss(labels, answers.probabilities))


@pytest.mark.parametrize("seed", range(3))
def test_torchmetrics_agrees_on_the_calibration_error(seed):
    answers = random_answers(seed, images=40)
    theirs = multiclass_calibration_error(
        from_numpy(answers.probabilities), from_numpy(answers.labels), num_classes=4, n_bins=10
    )
    assert scores_of(answers, ["a", "b", "c", "d"])["calibration_error"] == pytest.approx(float(theirs))


def test_the_order_of_images_does_not_matter():
    answers = random_answers(1, images=40)
    order = np.random.default_rng(0).permutation(40)
    shuffled = Answers(answers.image_ids[order], answers.labels[order], answers.beliefs[order])
    one, other = (analyse(some, ["a", "b", "c", "d"], resamples=0) for some in (answers, shuffled))
    for name in one:
        for row, again in zip(one[name], other[name]):
            assert row == pytest.approx(again, nan_ok=True)
