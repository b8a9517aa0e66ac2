"""COCO's matching, against pycocotools."""

import numpy as np
import pytest
from test_coco_map import GroundTruth, found, record

from detector.evaluation.coco_map import CocoMAP
from detector.evaluation.greedy import match
from detector.evaluation.matches import Matches


def crowded_scene(seed: int, detections: int = 40):
    """Many boxes in one place, on a coarse lattice so that overlaps are often equal."""
    random = np.random.default_rng(seed)

    def boxes(count):
        low = random.integers(0, 6, (count, 2)) * 10.0
        return np.concatenate([low, low + random.integers(2, 6, (count, 2)) * 10.0], 1)

    records, guesses = [], {}
    for number in range(6):
        count = random.integers(0, 16)
        ignored = random.random(count) < 0.3
        crowd = ignored & (random.random(count) < 0.5)
        records.append(record(number + 1, boxes(count), random.integers(0, 2, count), ignored.tolist(), crowd.tolist()))
        scores = random.integers(0, 15, detections) / 15  # equal scores as well
        guesses[number + 1] = found(boxes(detections), scores, random.integers(0, 2, detections))
    return records, guesses


def metric_of(records, detections) -> CocoMAP:
    metric = CocoMAP(GroundTruth(records))
    metric.update(list(detections), list(detections.values()))
    return metric


@pytest.mark.parametrize("seed, detections", [(0, 40), (1, 40), (2, 40), (3, 3), (4, 260)])
def test_every_detection_meets_whom_pycocotools_says(seed, detections):
    """260 an image: of each class only the best hundred count."""
    metric = metric_of(*crowded_scene(seed, detections))
    evaluation = metric._prepare(metric.all_rows()[:, :7], sorted(metric.rows))
    evaluation.evaluate()
    rows = metric.all_rows()
    ground_truth = {one["id"]: one for one in metric.ground_truth["annotations"]}
    theirs = {}
    for one in evaluation.evalImgs[:]:
        if one is not None and one["aRng"] == evaluation.params.areaRng[0]:
            for column, number in enumerate(one["dtIds"]):
                met = [ground_truth[int(i)]["bbox"] if i and not g else None
                       for i, g in zip(one["dtMatches"][:, column], one["dtIgnore"][:, column])]
                theirs[(*rows[number - 1][[0, 6, 5, 7]],)] = met, one["dtIgnore"][:, column].tolist()
    matches = Matches.of(metric)
    ours = {}
    for i in range(len(matches.scores)):
        image, category = matches.image_ids[matches.images[i]], metric.category_ids[matches.labels[i]]
        key = (image, category, matches.scores[i], matches.steps[i])
        met = [None if j < 0 else matches.object_boxes[j] for j in matches.matched[i]]
        met = [None if box is None else [*box[:2], *(box[2:] - box[:2])] for box in met]
        ours[key] = met, matches.ignored[i].tolist()
    assert ours == theirs


@pytest.mark.parametrize("at_once", [1, 50, 10**6])
def test_it_does_not_matter_how_much_is_done_at_once(at_once, monkeypatch):
    metric = metric_of(*crowded_scene(0))
    whole = Matches.of(metric).matched
    monkeypatch.setattr("detector.evaluation.greedy.AT_ONCE", at_once)
    assert np.array_equal(Matches.of(metric).matched, whole)


def test_nothing_to_match():
    none, box = np.zeros(0, np.int64), np.array([[0.0, 0.0, 9.0, 9.0]])
    empty = np.zeros((0, 4))
    assert match(none, np.zeros(0), empty, none, empty, none > 0, none > 0).shape == (0, 10)
    alone = match(np.array([1]), np.ones(1), box, np.array([2]), box, np.array([False]), np.array([False]))
    assert (alone == -1).all()
