"""Ceilings of suppression and of a list of boxes, worked by hand."""

import numpy as np
import pytest

from detector.evaluation.ceilings import best_slots, without_errors

A, B, DOG, AWAY = [0, 0, 100, 100], [0, 40, 100, 140], [300, 0, 400, 100], [500, 500, 560, 560]
"""Cats A and B overlap by 60 / 140 = .43."""


def left(boxes, scores, kept, *, labels=None, objects=(A, B), object_labels=None) -> list[int]:
    found = without_errors(
        np.array(boxes, dtype=float).reshape(-1, 4), np.array(scores, dtype=float),
        np.array(labels or [0] * len(boxes), dtype=np.int64), np.array(kept, dtype=np.int64),
        np.array(objects, dtype=float).reshape(-1, 4), np.array(object_labels or [0] * len(objects), dtype=np.int64),
    )
    return found.tolist()


def test_by_hand():
    """Kept: 0 finds A; 1 shows A again and goes; 2, on background, stays. Suppressed: 3 and 4 reach B, which nobody has
    found, and that of the higher score comes back; 5 on background and 6 on A do not."""
    boxes = [A, [0, 0, 100, 90], AWAY, [0, 45, 100, 140], B, AWAY, A]
    assert left(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [2, 0, 1]) == [0, 2, 3]


def test_a_box_finds_the_object_that_it_overlaps_most_of_those_that_are_left():
    """The first two lie between A and B (IoU .74 and .6 with them): one finds A, the other what is left, B."""
    between = [0, 15, 100, 115]
    assert left([between, between], [0.9, 0.8], [0, 1]) == [0, 1]
    assert left([between, between, B], [0.9, 0.8, 0.7], [0]) == [0, 1]  # given back to B: a higher score than the last
    assert left([between, between, A], [0.9, 0.8, 0.7], [0, 1, 2]) == [0, 1]


def test_only_boxes_of_its_class_find_an_object_or_show_it_again():
    """A cat's box on the dog is on background; the dog's own was suppressed; one of IoU .49 finds nothing."""
    half = [300, 0, 400, 49]
    boxes, labels = [DOG, DOG, half], [0, 1, 1]
    scene = {"labels": labels, "objects": [DOG], "object_labels": [1]}
    assert left(boxes, [0.9, 0.8, 0.95], [0], **scene) == [0, 1]
    assert left(boxes, [0.9, 0.8, 0.95], [0, 2], **scene) == [2, 0, 1]


def test_one_box_is_given_back_to_one_object():
    """The only box that reaches A and B can be but one of them."""
    assert left([AWAY, [0, 15, 100, 115]], [0.9, 0.8], [0]) == [0, 1]


def test_nothing_to_undo():
    boxes = [A, B, AWAY]
    assert left(boxes, [0.9, 0.8, 0.7], [0, 1, 2]) == [0, 1, 2]
    assert left(boxes, [0.9, 0.8, 0.7], [0, 2], objects=[]) == [0, 2]
    assert left([], [], []) == []


@pytest.mark.parametrize("seed", range(5))
def test_nothing_that_is_left_shows_an_object_again_and_no_object_that_could_be_found_is_missed(seed):
    random = np.random.default_rng(seed)
    low, objects = random.uniform(0, 120, (60, 2)), random.uniform(0, 120, (6, 2))
    boxes, objects = (np.concatenate([some, some + 80], 1) for some in (low, objects))
    scores, kept = random.random(60), np.sort(random.choice(60, 12, replace=False))
    chosen = left(boxes, scores, kept, objects=objects)
    reach = {one: set(np.flatnonzero([_iou(boxes[one], thing) >= 0.5 for thing in objects])) for one in range(60)}
    on_background = [one for one in kept if not reach[one]]
    on_objects = [one for one in chosen if reach[one]]
    assert set(on_background) == set(chosen) - set(on_objects) and len(on_objects) <= len(objects)
    others = [one for one in range(60) if one not in chosen and reach[one]]
    found = {}
    for one in on_objects:  # kept ones by descending score, then those given back: as they are listed
        free = sorted(reach[one] - set(found.values()), key=lambda thing: -_iou(boxes[one], objects[thing]))
        found[one] = free[0]
    assert not [one for one in others if reach[one] - set(found.values())]


def _iou(a, b) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common)


def test_best_slots_by_hand():
    """The first slot fits both A (85 / 115) and B (75 / 125) best, the second A (70 / 130) and hardly B (30 / 170): the
    sum is largest with the second for A. The dog has none."""
    slots, objects, iou = best_slots(
        np.array([[0, 15, 100, 115], [0, -30, 100, 70], AWAY], dtype=float), np.array([B, DOG, A], dtype=float)
    )
    assert dict(zip(objects.tolist(), slots.tolist())) == {0: 0, 2: 1}
    assert sorted(iou.tolist()) == pytest.approx([70 / 130, 75 / 125])
    assert [len(part) for part in best_slots(np.zeros((0, 4)), np.array([A], dtype=float))] == [0, 0, 0]
