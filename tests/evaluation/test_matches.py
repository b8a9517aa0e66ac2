"""Average precision from kept matches, against pycocotools."""

import dataclasses

import numpy as np
import pytest
from test_coco_map import GroundTruth, found, random_scene, record

from detector.errors import InputError
from detector.evaluation.coco_map import CocoMAP
from detector.evaluation.matches import Matches


def metric_of(records, detections) -> CocoMAP:
    metric = CocoMAP(GroundTruth(records))
    metric.update(list(detections), list(detections.values()))
    return metric


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_pycocotools(seed):
    metric = metric_of(*random_scene(seed))
    expected, (found_ap,) = metric.compute(), Matches.of(metric).average_precision()
    assert found_ap.mean() == pytest.approx(expected["AP"], abs=1e-9)
    assert found_ap[0] == pytest.approx(expected["AP50"], abs=1e-9)
    assert found_ap[5] == pytest.approx(expected["AP75"], abs=1e-9)
    assert Matches.of(metric).average_recall() == pytest.approx(expected["AR100"], abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_resampling_equals_pycocotools_on_a_set_with_images_repeated(seed):
    records, detections = random_scene(seed)
    weights = np.random.default_rng(seed).multinomial(len(records), [1 / len(records)] * len(records))
    repeated, again = [], {}
    for one, times in zip(records, weights):
        for copy in range(times):
            number = one.image_id * 100 + copy
            repeated.append(dataclasses.replace(one, image_id=number))
            again[number] = detections[one.image_id]
    expected = metric_of(repeated, again).compute()
    matches = Matches.of(metric_of(records, detections))
    one, other = matches.average_precision(np.stack([weights, np.ones_like(weights)]))
    assert one.mean() == pytest.approx(expected["AP"], abs=1e-9)
    assert other.mean() == pytest.approx(matches.average_precision()[0].mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("more", [0, 1, 3])
def test_the_best_of_each_image_equal_pycocotools_on_them_alone(seed, more):
    records, detections = random_scene(seed)
    whole = Matches.of(metric_of(records, detections))
    fewer = {}
    for number, image_id in enumerate(whole.image_ids.tolist()):
        best = (-detections[image_id].scores).argsort(stable=True)[: (whole.object_images == number).sum() + more]
        fewer[image_id] = detections[image_id][best]
    expected, part = metric_of(records, fewer).compute(), whole.best(more)
    assert len(part.scores) == sum(map(len, fewer.values())) < len(whole.scores)
    assert part.average_precision().mean() == pytest.approx(expected["AP"], abs=1e-9)


def test_recall_of_overlapping_objects_by_hand():
    """Two cats overlap by a half; a dog lies on one of them; one cat stands alone. One of the two is missed."""
    boxes = [[0, 0, 100, 100], [0, 0, 100, 50], [0, 0, 100, 100], [200, 200, 300, 300]]
    metric = metric_of(
        [record(1, boxes, [0, 0, 1, 0])], {1: found([boxes[0], boxes[2], boxes[3]], [0.9, 0.8, 0.7], [0, 1, 0])}
    )
    matches = Matches.of(metric)
    assert sorted(matches.overlap.tolist()) == [0, 0, 0.5, 0.5]
    assert matches.recall(overlap=(0.3, 1.01)) == (0.5, 2)
    assert matches.recall(overlap=(0.0, 0.3)) == (1.0, 2)
    share, count = matches.recall(overlap=(0.8, 1.01))
    assert np.isnan(share) and count == 0


def test_who_met_whom_by_hand():
    """A cat matched at IoU .8 and once more; a dog taken for a cat; an ignored cat matched."""
    boxes = [[0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300]]
    records = [record(5, [], []), record(7, boxes, [0, 1, 0], ignored=[False, False, True])]
    guesses = [boxes[1], [0, 0, 100, 80], boxes[0], boxes[2]]
    metric = metric_of(records, {5: found([], [], []), 7: found(guesses, [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0])})
    matches = Matches.of(metric)
    assert matches.image_ids.tolist() == [5, 7] and matches.images.tolist() == [1, 1, 1, 1]
    assert matches.steps.tolist() == [0, 1, 2, 3] and matches.boxes.tolist() == guesses
    assert matches.object_boxes[matches.matched[1, 0]].tolist() == boxes[0]
    assert matches.matched[[0, 2, 3], 0].tolist() == [-1] * 3
    assert matches.true_positive[:, 0].tolist() == [False, True, False, False]
    assert matches.true_positive[:3, 7].tolist() == [False, False, True]
    assert matches.ignored[:, 0].tolist() == [False, False, False, True]
    assert matches.object_labels.tolist() == [0, 1] and matches.object_areas.tolist() == [10_000, 10_000]


def test_they_are_kept(tmp_path):
    matches = Matches.of(metric_of(*random_scene(0)))
    matches.save(tmp_path / "matches.npz")
    again = Matches.load(tmp_path / "matches.npz")
    assert np.array_equal(matches.average_precision(), again.average_precision())
    arrays = dict(np.load(tmp_path / "matches.npz"))
    np.savez(tmp_path / "before.npz", met=arrays.pop("matched"), **arrays)  # as it was called
    assert np.array_equal(Matches.load(tmp_path / "before.npz").matched, matches.matched)
    np.savez(tmp_path / "old.npz", scores=np.zeros(0))
    with pytest.raises(InputError, match="old.npz lacks boxes, ignored, .* test its run again"):
        Matches.load(tmp_path / "old.npz")


def test_nothing_found_and_nothing_there():
    records, _ = random_scene(0)
    nothing = Matches.of(metric_of(records, {one.image_id: found([], [], []) for one in records}))
    assert (nothing.average_precision() == 0).all()
    empty = Matches.of(metric_of([record(1, [], [])], {1: found([[1, 1, 9, 9]], [0.5], [0])}))
    assert np.isnan(empty.average_precision()).all() and np.isnan(empty.average_recall())


def test_true_and_false_positives_by_score():
    """Two cats and an ignored one; by score: the first cat and a wrong box, together; the ignored cat; the second."""
    boxes = [[0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 250, 50]]
    guesses = [[300, 300, 350, 350], boxes[0], boxes[2], boxes[1]]
    metric = metric_of(
        [record(1, boxes, [0, 0, 0], ignored=[False, False, True])],
        {1: found(guesses, [0.75, 0.75, 0.5, 0.25], [0, 0, 0, 0])},
    )
    matches = Matches.of(metric)
    scores, true, false = matches.by_score(np.ones(4, dtype=bool))
    assert (scores.tolist(), true.tolist(), false.tolist()) == ([0.75, 0.25], [1, 2], [1, 1])
    assert [len(part) for part in matches.by_score(np.zeros(4, dtype=bool))] == [0, 0, 0]
