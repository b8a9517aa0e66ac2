"""The Jaccard index, on figures worked by hand and against every matching there is."""

import dataclasses
from itertools import combinations, permutations

import numpy as np
import pytest
from test_coco_map import found, random_scene, record
from test_matches import metric_of

from detector.evaluation.jaccard_index import SCORES, jaccard_index
from detector.evaluation.matches import Matches, pairwise_iou

A, B, AWAY = [0, 0, 100, 100], [0, 40, 100, 140], [300, 300, 350, 350]
"""IoU of A and B: 60 / 140 = .43."""
BETWEEN = [0, 20, 100, 120]
"""IoU with both: 80 / 120 = .67."""


def ji(records, detections) -> float:
    return jaccard_index(Matches.of(metric_of(records, detections)))


def test_by_hand():
    """One image, cats A and B. From a score of .9 on: A alone, 1 / (1 + 2 - 1) = 1/2. From .7: A and a wrong box,
    1 / (2 + 2 - 1) = 1/3. From .5: B too, 2 / (3 + 2 - 2) = 2/3, which is best. From .3: A again, 2 / (4 + 2 - 2)."""
    boxes = [A, AWAY, B, A]
    assert ji([record(1, [A, B], [0, 0])], {1: found(boxes, [0.92, 0.72, 0.52, 0.32], [0] * 4)}) == pytest.approx(2 / 3)


def test_a_box_that_fits_two_objects_gives_way_to_one_that_fits_one():
    """By descending score, the box between takes one of A and B; as many pairs as can be made are two."""
    for other in (A, B):
        assert ji([record(1, [A, B], [0, 0])], {1: found([BETWEEN, other], [0.9, 0.8], [0, 0])}) == 1.0


def test_the_mean_is_over_images_with_boxes_or_objects_and_classes_with_objects():
    """Cats: 1 in the first image, 0 in the second, whose box is wrong, and the third has neither: 1/2. Dogs: missed in
    the second image: 0. A box of a class without objects is no matter."""
    records = [record(1, [A], [0]), record(2, [B], [1]), record(3, [], [])]
    detections = {1: found([A], [0.9], [0]), 2: found([AWAY], [0.9], [0]), 3: found([], [], [])}
    assert ji(records, detections) == pytest.approx((1 / 2 + 0) / 2)
    assert ji(records[:1], {1: found([A, B], [0.9, 0.9], [0, 1])}) == 1.0


def test_boxes_on_ignored_objects_are_left_out():
    ignored = record(1, [A, AWAY], [0, 0], ignored=[False, True])
    assert ji([ignored], {1: found([A, AWAY], [0.9, 0.9], [0, 0])}) == 1.0
    assert ji([ignored], {1: found([A, AWAY, AWAY], [0.9, 0.9, 0.9], [0, 0, 0])}) == pytest.approx(1 / 2)  # once alone
    crowd = record(1, [A, AWAY], [0, 0], ignored=[False, True], crowd=[False, True])
    inside = [310, 310, 340, 340]
    assert ji([crowd], {1: found([A, inside, inside], [0.9, 0.9, 0.9], [0, 0, 0])}) == 1.0


def test_a_box_on_an_ignored_and_another_object_counts_only_where_it_is_paired():
    """An ignored cat lies where A does. By COCO's rules the first box takes A, the second the ignored one. Where the
    first can have no other object the second is left out: 1 / (1 + 1 - 1); where it can, both are paired."""
    detections = {1: found([A, A], [0.9, 0.8], [0, 0])}
    assert ji([record(1, [A, A], [0, 0], ignored=[False, True])], detections) == 1.0
    near_both = [0, 15, 100, 115]  # IoU .74 with A, .6 with B
    detections = {1: found([near_both, A], [0.92, 0.82], [0, 0])}
    scene = [record(1, [A, B, A], [0, 0, 0], ignored=[False, False, True])]
    assert Matches.of(metric_of(scene, detections)).ignored[:, 0].tolist() == [False, True]
    assert ji(scene, detections) == 1.0


def test_perfect_nothing_found_and_nothing_there():
    assert ji([record(1, [A, B], [0, 1])], {1: found([A, B], [0.9, 0.6], [0, 1])}) == 1.0
    assert ji([record(1, [A], [0])], {1: found([], [], [])}) == 0.0
    assert np.isnan(ji([record(1, [], [])], {1: found([A], [0.9], [0])}))


def most_pairs(near: np.ndarray) -> int:
    """As many ones as can be chosen with no two in a row or column: all ways tried."""
    rows, columns = near.shape
    if rows > columns:
        return most_pairs(near.T)
    for size in range(rows, 0, -1):
        for some in combinations(range(rows), size):
            if any(near[list(some), list(order)].all() for order in permutations(range(columns), size)):
                return size
    return 0


@pytest.mark.parametrize("seed", range(5))
def test_against_every_matching_there_is(seed):
    """Crowds: boxes of an image all near each other, so that the matching is not plain."""
    random = np.random.default_rng(seed)
    records, detections = [], {}
    for number in range(6):
        low = random.uniform(0, 40, (random.integers(0, 5), 2))
        some = random.uniform(0, 40, (random.integers(0, 6), 2))
        records.append(record(number, np.concatenate([low, low + 80], 1), random.integers(0, 2, len(low))))
        scores, labels = random.random(len(some)), random.integers(0, 2, len(some))
        detections[number] = found(np.concatenate([some, some + 80], 1), scores, labels)
    best = np.zeros((len(SCORES), 2))
    for at, score in enumerate(SCORES):
        for label in range(2):
            values = []
            for one in records:
                boxes = one.boxes[one.labels == label]
                guesses = detections[one.image_id]
                guesses = guesses[(guesses.scores >= score) & (guesses.labels == label)].boxes.double().numpy()
                pairs = most_pairs(pairwise_iou(guesses, boxes) >= 0.5)
                if len(boxes) + len(guesses):
                    values.append(pairs / (len(boxes) + len(guesses) - pairs))
            best[at, label] = np.mean(values)
    assert ji(records, detections) == pytest.approx(best.max(0).mean())


def test_the_order_of_images_and_boxes_does_not_matter():
    records, detections = random_scene(3)
    renumbered = {one.image_id: 999 - one.image_id for one in records}
    again = {}
    for number, one in detections.items():
        order = np.random.default_rng(number).permutation(len(one))
        again[renumbered[number]] = found(*(values.numpy()[order] for values in (one.boxes, one.scores, one.labels)))
    others = [dataclasses.replace(one, image_id=renumbered[one.image_id]) for one in records]
    assert ji(others, again) == pytest.approx(ji(records, detections))
