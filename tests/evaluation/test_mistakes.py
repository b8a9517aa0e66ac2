"""Kinds of mistakes, on a scene worked by hand and against pycocotools on fixed detections."""

import numpy as np
import pytest
from test_coco_map import found, random_scene, record, score
from test_matches import metric_of

from detector.evaluation.matches import Matches
from detector.evaluation.mistakes import KINDS, Mistakes


def mistakes_of(records, detections) -> Mistakes:
    return Mistakes.of(Matches.of(metric_of(records, detections)))


def test_one_of_each_kind_by_hand():
    """cat, dog, cat, dog and a cat that counts for nothing; a detection for each kind of mistake."""
    cat, dog, far = [0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300]
    lost, ignored = [200, 200, 300, 300], [0, 350, 50, 400]
    records = [record(1, [cat, dog, far, lost, ignored], [0, 1, 0, 1, 0], ignored=[False] * 4 + [True])]
    boxes = [cat, [0, 0, 100, 90], dog, [0, 200, 100, 230], [220, 0, 300, 30], [350, 350, 390, 390], ignored]
    mistakes = mistakes_of(records, {1: found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [0, 0, 0, 0, 0, 1, 0])})
    by_score = np.argsort(-mistakes.matches.scores)
    assert [mistakes.kind[i] for i in by_score] == [
        "true positive", "duplicate", "classification", "localisation", "both", "background", "ignored"
    ]
    assert mistakes.count() == {
        "classification": 1, "localisation": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 1
    }
    assert mistakes.matches.object_boxes[mistakes.missed].tolist() == [lost]
    # AP50 now: one of two cats found by the first detection, no dog: (51 / 101 + 0) / 2
    gains = mistakes.gains()
    now = 51 / 101 / 2
    # the second cat at rank 4 of 4 (the duplicate and the wrong class before it): precision 2 / 4
    assert gains["localisation"] == pytest.approx((51 + 50 * 0.5) / 101 / 2 - now)
    assert gains["classification"] == pytest.approx((51 + 51) / 101 / 2 - now)  # one of two dogs, before its mistake
    assert gains["missed"] == pytest.approx(0.0)  # no dog is found even so
    assert gains["duplicate"] == gains["both"] == gains["background"] == pytest.approx(0.0)  # after all that is found


@pytest.mark.parametrize("seed", range(6))
def test_fixed_detections_score_what_is_claimed(seed):
    records, detections = scene(seed)
    mistakes = mistakes_of(records, detections)
    now, gains = score(records, detections)["AP50"], mistakes.gains()
    assert sum(mistakes.count()[kind] > 0 for kind in KINDS) >= 5  # or it tests little
    for kind in KINDS:
        fixed, images = mistakes.fixed(kind), {}
        for i, one in enumerate(records):
            mine = fixed.images == i
            images[one.image_id] = found(fixed.boxes[mine], fixed.scores[mine], fixed.labels[mine])
        ground_truth = records
        if kind == "missed":
            missed = mistakes.matches.object_boxes[mistakes.missed].tolist()
            ground_truth = [without(one, missed) for one in records]
        assert score(ground_truth, images)["AP50"] - now == pytest.approx(gains[kind], abs=1e-9), kind


@pytest.mark.parametrize("seed", range(3))
def test_the_kinds_sum_up(seed):
    mistakes = mistakes_of(*scene(seed))
    no_mistakes = sum(mistakes.kind.count(kind) for kind in ("true positive", "ignored"))
    assert sum(mistakes.count().values()) - mistakes.missed.sum() + no_mistakes == len(mistakes.kind)
    meant = np.zeros(len(mistakes.missed), dtype=bool)
    meant[mistakes.intended[mistakes.intended >= 0]] = True
    found_here = mistakes.matches.found[:, 0]
    assert (found_here.astype(int) + (meant & ~found_here) + mistakes.missed == 1).all()


def test_the_order_of_images_and_detections_does_not_matter():
    records, detections = scene(0)
    shuffled = {}
    for number, one in reversed(detections.items()):
        order = np.random.default_rng(number).permutation(len(one))
        shuffled[number] = found(*(values.numpy()[order] for values in (one.boxes, one.scores, one.labels)))
    one, other = mistakes_of(records, detections), mistakes_of(records[::-1], shuffled)
    assert one.count() == other.count()
    assert one.gains() == pytest.approx(other.gains())


def test_nothing_found_nothing_there():
    records, detections = scene(0)
    nothing = mistakes_of(records, {number: found([], [], []) for number in detections})
    assert nothing.count() == {**dict.fromkeys(KINDS, 0), "missed": len(nothing.missed)}
    nowhere = mistakes_of([record(1, [], [])], {1: found([[0, 0, 9, 9]], [0.5], [0])})
    assert nowhere.kind == ["background"] and np.isnan(list(nowhere.gains().values())).all()


def scene(seed: int):
    """A random scene with wrong labels and poor boxes."""
    records, detections = random_scene(seed)
    random = np.random.default_rng(seed + 100)
    for number, one in detections.items():
        poor = random.random(len(one)) < 0.3
        boxes = one.boxes.numpy() + np.where(poor[:, None], random.uniform(-40, 40, (len(one), 1)), 0.0)
        labels = np.where(random.random(len(one)) < 0.3, 1 - one.labels.numpy(), one.labels.numpy())
        twice = random.random(len(one)) < 0.3
        detections[number] = found(
            np.concatenate([boxes, boxes[twice] + 2]), np.concatenate([one.scores, random.random(twice.sum())]),
            np.concatenate([labels, labels[twice]]),
        )
    return records, detections


def without(one, missed: list):
    stays = [not counted or box not in missed for box, counted in zip(one.boxes.tolist(), ~one.ignored)]
    ignored, crowd = one.ignored[stays].tolist(), one.crowd[stays].tolist()
    return record(one.image_id, one.boxes[stays], one.labels[stays], ignored, crowd)
