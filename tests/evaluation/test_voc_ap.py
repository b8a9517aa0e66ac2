"""Pascal VOC's average precision, by hand."""

import numpy as np
import pytest
from test_coco_map import found, record
from test_matches import metric_of

from detector.evaluation.voc_ap import voc_ap

CAT, NEXT, DIFFICULT = [0, 0, 100, 100], [20, 0, 120, 100], [200, 200, 300, 300]


def cats(boxes, scores, records=None) -> dict:
    records = records or [record(1, [CAT, NEXT, DIFFICULT], [0, 0, 0], ignored=[False, False, True])]
    return voc_ap(metric_of(records, {1: found(boxes, scores, [0] * len(boxes))}))[0]


def test_both_rules_by_hand():
    """Right, wrong, right of two objects: precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1."""
    row = cats([CAT, [300, 0, 350, 50], NEXT], [0.9, 0.8, 0.7])
    assert row["objects"] == 2
    assert row["AP 2007"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert row["AP 2010"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_difficult_objects_neither_count_nor_hurt():
    row = cats([DIFFICULT, DIFFICULT, CAT], [0.9, 0.8, 0.7])
    assert row["AP 2010"] == pytest.approx(0.5) and row["AP 2007"] == pytest.approx(6 / 11)


def test_a_second_box_on_the_object_it_overlaps_most_is_wrong_although_another_is_free():
    """It reaches the free one with an IoU of .6 and would be right by COCO's rule."""
    twice = [5, 0, 105, 100]
    row = cats([CAT, twice], [0.9, 0.8])
    assert row["AP 2010"] == pytest.approx(0.5)
    metric = metric_of([record(1, [CAT, NEXT], [0, 0])], {1: found([CAT, twice], [0.9, 0.8], [0, 0])})
    assert metric.compute()["AP50"] == pytest.approx(1.0)


def test_iou_of_a_half_is_enough():
    assert cats([[0, 0, 100, 50]], [0.9], [record(1, [CAT], [0])])["AP 2010"] == 1.0
    assert cats([[0, 0, 100, 49]], [0.9], [record(1, [CAT], [0])])["AP 2010"] == 0.0


def test_nothing_found_and_nothing_there():
    assert cats([], [])["AP 2007"] == 0.0
    assert np.isnan(cats([CAT], [0.9], [record(1, [], [])])["AP 2010"])


def test_over_all_images_in_the_order_of_scores():
    records = [record(1, [CAT], [0]), record(2, [CAT], [0])]
    metric = metric_of(records, {1: found([[200, 0, 250, 50]], [0.8], [0]), 2: found([CAT], [0.9], [0])})
    assert voc_ap(metric)[0]["AP 2010"] == pytest.approx(0.5)
