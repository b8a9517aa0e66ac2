"""Recall of overlapping objects at equal precision, worked by hand."""

import numpy as np
import pytest
from test_coco_map import found, random_scene, record
from test_matches import metric_of

from detector.evaluation.crowding import CROWD_SCORES, RECALL_AT, crowd_scores, recall_at_precision
from detector.evaluation.matches import Matches

A, B, DOG, AWAY = [0, 0, 90, 90], [30, 0, 120, 90], [200, 0, 300, 100], [300, 300, 350, 350]


def scene(boxes, scores, labels) -> Matches:
    """Cats A and B overlap by .5, the dog by nothing."""
    return Matches.of(metric_of([record(1, [A, B, DOG], [0, 0, 1])], {1: found(boxes, scores, labels)}))


def test_by_hand():
    """Precision after each box: 1 (A), 1/2 (a wrong dog), 2/3 (the dog), 3/4 (B), 3/5 (another wrong one). It is at
    least .7 from .9 and from .6 on, of which the latter is the lowest: both cats are found. Above .75 it is from .9 on
    alone: one of two. It is at least .6 to the end."""
    matches = scene([A, AWAY, DOG, B, AWAY], [0.9, 0.8, 0.7, 0.6, 0.5], [0, 1, 1, 0, 0])
    assert [recall_at_precision(matches, at) for at in (0.5, 0.6, 0.7, 0.75, 0.76, 1.0)] == [1, 1, 1, 1, 0.5, 0.5]


def test_where_the_precision_is_never_reached_or_nothing_overlaps():
    assert np.isnan(recall_at_precision(scene([AWAY, A], [0.9, 0.8], [0, 0]), 0.7))
    assert np.isnan(recall_at_precision(scene([], [], []), 0.7))
    apart = Matches.of(metric_of([record(1, [DOG], [1])], {1: found([DOG], [0.9], [1])}))
    assert np.isnan(recall_at_precision(apart, 0.7))


def test_equal_scores_pass_together():
    assert np.isnan(recall_at_precision(scene([A, AWAY], [0.9, 0.9], [0, 0]), 0.7))


def test_a_box_on_an_ignored_object_counts_neither_way():
    records = [record(1, [A, B, DOG], [0, 0, 0], ignored=[False, False, True])]
    matches = Matches.of(metric_of(records, {1: found([DOG, A], [0.9, 0.8], [0, 0])}))
    assert recall_at_precision(matches, 1.0) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_what_is_reported_of_crowds(seed):
    matches = Matches.of(metric_of(*random_scene(seed)))
    scores = crowd_scores(matches)
    assert list(scores) == list(CROWD_SCORES) and 0 < scores["JI"] < 1 and 0 < scores["MR^-2"] < 1
    every = matches.recall(overlap=(0.3, 1.01))[0]
    assert recall_at_precision(matches, 0.0) == pytest.approx(every, nan_ok=True)  # precision is no matter
    records, _ = random_scene(seed)
    perfect = {one.image_id: found(one.boxes, np.full(len(one.boxes), 0.97), one.labels) for one in records}
    scores = crowd_scores(Matches.of(metric_of(records, perfect)))
    assert scores["MR^-2"] == pytest.approx(0, abs=1e-9) and scores["JI"] == 1
    assert scores[RECALL_AT] == pytest.approx(np.nan if np.isnan(every) else 1, nan_ok=True)
