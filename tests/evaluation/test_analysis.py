"""Crowding, counting, thresholds, calibration, confusion and the sequence, on one small scene worked by hand.

| image | objects | boxes: score, what they show |
| --- | --- | --- |
| 1 | cats A and B (IoU .5), dog D | .9 A, .8 A again, .7 D as cat, .6 nothing (cat) |
| 2 | cat E | .5 E |
| 3 | none | .4 nothing (dog) |
"""

import numpy as np
import pytest
from test_coco_map import found, random_scene, record
from test_matches import metric_of

from detector.evaluation import plots
from detector.evaluation.calibration import calibration, calibration_error
from detector.evaluation.confusion import confusion
from detector.evaluation.counting import counting
from detector.evaluation.crowding import by_number, by_overlap, by_size, duplicates
from detector.evaluation.matches import Matches
from detector.evaluation.sequence import anytime, steps
from detector.evaluation.thresholds import best_thresholds

A, B, D, E = [0, 0, 90, 90], [30, 0, 120, 90], [200, 0, 300, 100], [0, 200, 20, 220]
LOW = np.array([0.45, 0.45])


@pytest.fixture
def metric():
    records = [record(1, [A, B, D], [0, 0, 1]), record(2, [E], [0]), record(3, [], [])]
    return metric_of(records, {
        1: found([A, [0, 0, 90, 85], D, [300, 300, 350, 350]], [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0]),
        2: found([E], [0.5], [0]), 3: found([[0, 0, 50, 50]], [0.4], [1]),
    })


@pytest.fixture
def matches(metric):
    return Matches.of(metric)


def test_by_overlap(matches):
    rows = {row["overlap"]: row for row in by_overlap(matches)}
    assert [rows[name]["objects"] for name in ("below 0.1", "0.1 to 0.3", "0.3 to 0.5", "above 0.5")] == [2, 0, 0, 2]
    close, apart = rows["above 0.5"], rows["below 0.1"]
    assert close["recall"] == 0.5 and close["AP50"] == pytest.approx(51 / 101)  # A, then A again
    # E after two wrong ones (the dog as cat, and nothing): precision 1 / 3; the dog is missed
    assert apart["recall"] == 0.5 and apart["AP50"] == pytest.approx((1 / 3 + 0) / 2)
    assert np.isnan(rows["0.3 to 0.5"]["AP"]) and np.isnan(rows["0.3 to 0.5"]["recall"])


def test_by_number(matches):
    rows = {row["objects in the image"]: row for row in by_number(matches)}
    assert {name: (row["images"], row["objects"]) for name, row in rows.items()} == {
        "1": (1, 1), "2 to 3": (1, 3), "4 to 7": (0, 0), "8 to 15": (0, 0), "16 and more": (0, 0)
    }
    assert rows["1"]["AP"] == pytest.approx(1.0) and rows["1"]["recall"] == 1.0
    assert rows["2 to 3"]["AP50"] == pytest.approx(51 / 101 / 2)


def test_by_size(matches):
    rows = {row["area"]: row for row in by_size(matches)}
    assert [row["objects"] for row in rows.values()] == [1, 2, 1]
    assert rows["below 32²"]["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_sizes_equal_pycocotools(seed):
    """Where nothing is ignored and no box could have matched an object of another size: both define the same."""
    records, detections = random_scene(seed)
    records = [record(r.image_id, r.boxes[::3], r.labels[::3]) for r in records]
    detections = {r.image_id: found(r.boxes, np.linspace(0.9, 0.5, len(r.boxes)), r.labels) for r in records}
    metric = metric_of(records, detections)
    theirs, ours = metric.compute(), by_size(Matches.of(metric))
    for row, name in zip(ours, ("APs", "APm", "APl")):
        assert row["AP"] == pytest.approx(theirs[name], nan_ok=True)


def test_duplicates(matches):
    assert duplicates(matches, LOW) == pytest.approx(1 / 3)
    assert duplicates(matches, np.array([0.85, 0.85])) == 0.0


def test_counting(matches):
    cats, dogs = counting(matches, ["cat", "dog"], LOW)
    assert (cats["objects"], cats["boxes"]) == (1.0, pytest.approx(5 / 3))  # 2 1 0 and 4 1 0
    assert (cats["mean absolute error"], cats["bias"], cats["exact"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (dogs["mean absolute error"], dogs["bias"], dogs["exact"]) == pytest.approx((1 / 3, -1 / 3, 2 / 3))


def test_best_thresholds(matches):
    """Cats: F1 of the first box 2·1/(1+3) = .5; of all five 2·2/(5+3) = .5; the earlier is kept. No dog is found."""
    thresholds, f1 = best_thresholds(matches, 2)
    assert thresholds.tolist() == pytest.approx([0.85, 0.5]) and f1.tolist() == pytest.approx([0.5, 0.0])


def test_a_threshold_that_few_objects_speak_for_is_not_chosen():
    """One of three cats is found at the best score: enough where one suffices, too few where two are asked for."""
    matches = Matches.of(metric_of([record(1, [A, B, D], [0, 0, 0])], {1: found([A], [0.02], [0])}))
    assert best_thresholds(matches, 1)[0] == pytest.approx(0.01)
    thresholds, f1 = best_thresholds(matches, 1, least_found=2)
    assert thresholds[0] == 0.5 and f1[0] == pytest.approx(0.5)


def test_equal_scores_pass_together():
    metric = metric_of([record(1, [A, D], [0, 0])], {1: found([A, B, D], [0.5, 0.5, 0.3], [0, 0, 0])})
    thresholds, f1 = best_thresholds(Matches.of(metric), 1)
    assert thresholds[0] == pytest.approx(0.15) and f1[0] == pytest.approx(0.8)


def test_thresholds_are_the_best_of_all():
    matches = Matches.of(metric_of(*random_scene(0)))
    thresholds, f1 = best_thresholds(matches, 2)
    counts = ~matches.ignored[:, 0]
    for label in range(2):
        mine = counts & (matches.labels == label)
        objects = (matches.object_labels == label).sum()

        def f1_at(threshold, mine=mine, objects=objects):
            passed = mine & (matches.scores >= threshold)
            return 2 * matches.true_positive[passed, 0].sum() / (passed.sum() + objects)

        assert f1_at(thresholds[label]) == pytest.approx(f1[label])
        assert f1[label] == pytest.approx(max(f1_at(t) for t in np.linspace(0, 1, 2001)))


def test_calibration(matches):
    rows = calibration(matches, bins=2)
    assert [row["detections"] for row in rows] == [1, 5]
    assert rows[0]["precision"] == 0.0
    assert rows[1]["precision"] == pytest.approx(2 / 5) and rows[1]["score"] == pytest.approx(0.7)
    assert calibration_error(rows) == pytest.approx((1 * 0.4 + 5 * 0.3) / 6)
    assert np.isnan(calibration_error(calibration(Matches.of(metric_of([record(1, [], [])], {1: found([], [], [])})))))


def test_confusion(matches):
    assert confusion(matches, LOW).tolist() == [[2, 0, 1], [1, 0, 0], [2, 0, 0]]
    assert confusion(matches, np.array([2.0, 2.0])).tolist() == [[0, 0, 3], [0, 0, 1], [0, 0, 0]]


def test_steps(matches):
    rows = steps(matches, LOW)
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and [row["images"] for row in rows] == [3, 1, 1, 1]
    assert rows[0]["score"] == pytest.approx(0.6) and rows[0]["object"] == pytest.approx(2 / 3)
    assert rows[0]["background"] == pytest.approx(1 / 3) and rows[0]["true positive"] == pytest.approx(2 / 3)
    assert [row["found"] for row in rows] == [0.5, 0, 0, 0]


def test_anytime(metric, matches):
    rows = anytime(metric, matches)
    assert [row["steps"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["AP"] == pytest.approx(metric.compute()["AP"])
    assert [row["recall"] for row in rows] == [0.5] * 4
    # after one step: A and E of three cats, no dog
    assert rows[0]["AP50"] == pytest.approx(67 / 101 / 2)


def test_a_cut_sequence_is_matched_anew():
    """The surer second step takes the cat; without it the first one does."""
    metric = metric_of([record(1, [A], [0])], {1: found([A, A], [0.4, 0.9], [0, 0])})
    assert [row["AP50"] for row in anytime(metric, Matches.of(metric))] == pytest.approx([1.0, 1.0])


def test_nothing_found_and_nothing_there():
    for records, boxes in (([record(1, [A], [0])], []), ([record(1, [], [])], [A]), ([record(1, [], [])], [])):
        metric = metric_of(records, {1: found(boxes, [0.9] * len(boxes), [0] * len(boxes))})
        one = Matches.of(metric)
        assert confusion(one, LOW).sum() == len(boxes) + len(records[0].boxes)
        assert len(by_overlap(one)) == 4 and len(counting(one, ["cat", "dog"], LOW)) == 2
        assert len(steps(one, LOW)) == len(boxes) and len(anytime(metric, one)) == 1
        assert duplicates(one, LOW) == 0 and best_thresholds(one, 2)[0].tolist() == [0.5, 0.5]


def test_the_order_of_images_and_boxes_does_not_matter():
    records, detections = random_scene(1)
    shuffled = {}
    for number, one in reversed(detections.items()):
        order = np.random.default_rng(number).permutation(len(one))
        shuffled[number] = found(*(values.numpy()[order] for values in (one.boxes, one.scores, one.labels)))
    one, other = (Matches.of(metric_of(r, d)) for r, d in ((records, detections), (records[::-1], shuffled)))
    for analysis in (by_overlap, by_number, by_size, calibration, lambda m: counting(m, ["cat", "dog"], LOW)):
        for row, again in zip(analysis(one), analysis(other)):
            assert row == pytest.approx(again, nan_ok=True)
    assert np.array_equal(confusion(one, LOW), confusion(other, LOW))


def test_training_curves(tmp_path):
    (tmp_path / "1.csv").write_text("epoch,train/class,train/loss,val/AP\n0,2.0,9,\n0,,,0.25\n1,1.0,8,\n")
    (tmp_path / "2.csv").write_text("epoch,train/class,train/loss,val/AP\n1,1.0,8,\n1,,,0.5\n")
    plots.training([tmp_path / "1.csv", tmp_path / "2.csv"], tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 5000
    (tmp_path / "3.csv").write_text("epoch,step\n0,1\n")
    plots.training([tmp_path / "3.csv"], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
