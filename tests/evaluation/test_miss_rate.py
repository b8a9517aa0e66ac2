"""The log-average miss rate, on figures worked by hand."""

import dataclasses

import numpy as np
import pytest
from test_coco_map import found, random_scene, record
from test_matches import metric_of

from detector.evaluation.matches import Matches
from detector.evaluation.miss_rate import miss_rate

A, B, AWAY, IGNORED = [0, 0, 50, 50], [100, 0, 150, 50], [300, 300, 350, 350], [200, 0, 250, 50]


def scene(first, scores, labels=None, *, images: int = 10, **of_record) -> Matches:
    """Cats A and B in the first of some images, and boxes with their scores there; the others are empty."""
    records = [record(0, [A, B, IGNORED], [0, 0, 0], ignored=[False, False, True])]
    records += [record(number, [], []) for number in range(1, images)]
    empty = {number: found([], [], []) for number in range(1, images)}
    return Matches.of(metric_of(records, {0: found(first, scores, labels or [0] * len(first)), **empty}))


def test_by_hand():
    """Ten images, so false positives an image after each box: 0 (A), .1 (away), .1 (B). Of the nine points 10^-2, …
    10^0 the four below .1 are reached with A alone (miss rate 1/2), the five from .1 on with B too (0, for which 10^-10
    stands)."""
    matches = scene([A, AWAY, B], [0.9, 0.8, 0.7])
    assert miss_rate(matches) == pytest.approx((0.5**4 * 1e-10**5) ** (1 / 9))


def test_where_the_first_box_is_already_too_much():
    """Two images: the first box is wrong, .5 false positives an image, more than 10^-2 … 10^-.5 (seven points: miss
    rate 1) and less than 10^-.25 and 10^0 (A is found: 1/2)."""
    assert miss_rate(scene([AWAY, A], [0.9, 0.8], images=2)) == pytest.approx((1**7 * 0.5**2) ** (1 / 9))


def test_a_number_of_false_positives_that_is_stepped_over_is_not_reached():
    """Two images: 0 (A), .5 (away), 1 (away), 1 (B). The last point alone has B."""
    matches = scene([A, AWAY, [300, 0, 350, 50], B], [0.9, 0.8, 0.7, 0.6], images=2)
    assert miss_rate(matches) == pytest.approx((0.5**8 * 1e-10) ** (1 / 9))


def test_equal_scores_pass_together():
    """B is never let through without the box of equal score that is wrong: nowhere where .1 is too many."""
    for boxes in ([A, B, AWAY], [A, AWAY, B]):
        assert miss_rate(scene(boxes, [0.9, 0.8, 0.8])) == pytest.approx((0.5**4 * 1e-10**5) ** (1 / 9))


def test_ignored_objects_are_neither_missed_nor_wrongly_found():
    with_it, without = scene([IGNORED, A], [0.9, 0.8]), scene([A], [0.8])
    assert miss_rate(with_it) == miss_rate(without) == pytest.approx(0.5)


def test_the_mean_is_over_classes_that_have_objects():
    """A cat and a dog; the cat is found, the dog is not, and a class without objects has false positives alone."""
    matches = Matches.of(metric_of(
        [record(1, [A, B], [0, 1])], {1: found([A, AWAY], [0.9, 0.8], [0, 0])}
    ))
    assert miss_rate(matches) == pytest.approx((1e-10 + 1) / 2)
    cats = Matches.of(metric_of([record(1, [A], [0])], {1: found([A, AWAY], [0.9, 0.8], [0, 1])}))
    assert miss_rate(cats) == pytest.approx(1e-10)


def test_perfect_nothing_found_and_nothing_there():
    assert miss_rate(scene([A, B], [0.9, 0.1])) == pytest.approx(0, abs=1e-9)
    assert miss_rate(scene([], [])) == 1
    assert np.isnan(miss_rate(Matches.of(metric_of([record(1, [], [])], {1: found([A], [0.5], [0])}))))


@pytest.mark.parametrize("seed", range(4))
def test_scores_count_by_their_order_alone_and_images_not_at_all(seed):
    records, detections = random_scene(seed)
    matches = Matches.of(metric_of(records, detections))
    expected = miss_rate(matches)
    assert 0 < expected < 1
    assert miss_rate(dataclasses.replace(matches, scores=np.exp(3 * matches.scores) - 7)) == pytest.approx(expected)
    renumbered = {one.image_id: 999 - one.image_id for one in records}
    again = metric_of(
        [dataclasses.replace(one, image_id=renumbered[one.image_id]) for one in records],
        {renumbered[number]: one for number, one in detections.items()},
    )
    assert miss_rate(Matches.of(again)) == pytest.approx(expected)
