import math
from pathlib import Path

import numpy as np
import pytest
import torch

from detector.data.annotations import Record
from detector.data.dataset import DetectionDataset
from detector.detections import Detections
from detector.errors import InputError
from detector.evaluation.coco_map import NAMES, CocoMAP, table
from detector.evaluation.matches import Matches


class GroundTruth(DetectionDataset):
    """As much of a data set as the metric looks at."""

    def __init__(self, records, class_names=("cat", "dog"), category_ids=(3, 17)):
        self.records, self.class_names, self.category_ids = records, list(class_names), list(category_ids)


def record(image_id, boxes, labels, ignored=None, crowd=None, size=(400, 400)):
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    n = len(boxes)
    return Record(
        image_id, Path("none"), size, boxes, np.array(labels, dtype=np.int64),
        np.array(ignored or [False] * n, dtype=bool), np.array(crowd or [False] * n, dtype=bool),
        (boxes[:, 2:] - boxes[:, :2]).prod(1),
    )


def found(boxes, scores, labels) -> Detections:
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.int64), torch.arange(len(labels)),
    )


def score(records, detections: dict, backend="pycocotools") -> dict:
    metric = CocoMAP(GroundTruth(records), backend=backend)
    metric.update(list(detections), list(detections.values()))
    return metric.compute()


def random_scene(seed: int, images: int = 12):
    random = np.random.default_rng(seed)
    records, detections = [], {}
    for i in range(images):
        n = random.integers(0, 7)
        low = random.uniform(0, 250, (n, 2))
        boxes = np.concatenate([low, low + random.uniform(8, 140, (n, 2))], 1)
        labels = random.integers(0, 2, n)
        ignored = random.random(n) < 0.2
        crowd = ignored & (random.random(n) < 0.5)
        records.append(record(10 + i, boxes, labels, ignored.tolist(), crowd.tolist()))
        guesses = np.concatenate([boxes + random.normal(0, 6, boxes.shape), random.uniform(0, 150, (3, 4))])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        guessed = np.concatenate([labels, random.integers(0, 2, 3)])
        detections[10 + i] = found(guesses, random.random(len(guesses)), guessed)
    return records, detections


BOTH = pytest.mark.parametrize("backend", ["pycocotools", "faster_coco_eval"])


@BOTH
def test_truth_as_predictions_scores_one(backend):
    records = [
        record(1, [[10, 10, 30, 30], [50, 50, 120, 120]], [0, 1]), record(2, [[0, 0, 200, 300]], [1]), record(3, [], [])
    ]
    detections = {r.image_id: found(r.boxes, [0.9] * len(r.boxes), r.labels) for r in records}
    metrics = score(records, detections, backend)
    assert metrics["AP"] == metrics["AP50"] == metrics["AR100"] == pytest.approx(1.0)
    assert metrics["APs"] == metrics["APm"] == metrics["APl"] == pytest.approx(1.0)
    assert metrics["per_class"]["dog"] == {"AP": 1.0, "AP50": 1.0, "AP75": 1.0, "AR": 1.0, "objects": 2}


def test_ap_by_hand():
    """Two objects, the better detection is wrong: precision ½ up to recall ½, then nothing: AP50 = 51 of 101 · ½."""
    records = [record(1, [[10, 10, 50, 50], [100, 100, 180, 180]], [0, 0])]
    metrics = score(records, {1: found([[300, 300, 350, 350], [10, 10, 50, 50]], [0.9, 0.8], [0, 0])})
    assert metrics["AP50"] == pytest.approx(0.5 * 51 / 101)
    assert metrics["AR100"] == pytest.approx(0.5) and metrics["AR1"] == 0
    assert math.isnan(metrics["per_class"]["dog"]["AP"])


@BOTH
def test_ignored_objects_are_neither_missed_nor_wrongly_found(backend):
    records = [record(1, [[10, 10, 50, 50], [100, 100, 180, 180]], [0, 0], ignored=[False, True])]
    without = score(records, {1: found([[10, 10, 50, 50]], [0.5], [0])}, backend)
    with_it = score(records, {1: found([[10, 10, 50, 50], [100, 100, 180, 180]], [0.5, 0.9], [0, 0])}, backend)
    inside = score(records, {1: found([[10, 10, 50, 50], [110, 110, 130, 130]], [0.5, 0.9], [0, 0])}, backend)
    assert without["AP"] == with_it["AP"] == pytest.approx(1.0)
    assert inside["AP"] < 0.6  # a box of which the ignored object is no match is wrong
    assert with_it["per_class"]["cat"]["objects"] == 1


@BOTH
def test_a_crowd_takes_up_any_number(backend):
    records = [record(1, [[10, 10, 50, 50], [100, 100, 180, 180]], [0, 0], ignored=[False, True], crowd=[False, True])]
    boxes = [[10, 10, 50, 50], [110, 110, 130, 130], [140, 140, 170, 170]]
    assert score(records, {1: found(boxes, [0.5, 0.9, 0.8], [0, 0, 0])}, backend)["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_backends_agree(seed):
    records, detections = random_scene(seed)
    a, b = (score(records, detections, backend) for backend in ("pycocotools", "faster_coco_eval"))
    for name in NAMES:
        assert a[name] == pytest.approx(b[name], abs=1e-9, nan_ok=True), name
    for name in ("cat", "dog"):
        assert a["per_class"][name] == pytest.approx(b["per_class"][name], abs=1e-9, nan_ok=True)
        assert a["precision"][name] == pytest.approx(b["precision"][name], abs=1e-9)


def test_order_of_images_and_detections_does_not_matter():
    records, detections = random_scene(9)
    metric = CocoMAP(GroundTruth(records[::-1]))
    for image_id in reversed(detections):
        order = torch.randperm(len(detections[image_id]), generator=torch.Generator().manual_seed(image_id))
        metric.update([image_id], [detections[image_id][order]])
    again, first = metric.compute(), score(records, detections)
    assert all(again[name] == pytest.approx(first[name], abs=1e-9, nan_ok=True) for name in NAMES)


def test_only_images_that_were_seen_count():
    records = [record(1, [[10, 10, 50, 50]], [0]), record(2, [[10, 10, 50, 50]], [0])]
    assert score(records, {1: found([[10, 10, 50, 50]], [0.9], [0])})["AP"] == pytest.approx(1.0)
    missed = score(records, {1: found([[10, 10, 50, 50]], [0.9], [0]), 2: found([], [], [])})
    assert missed["AR100"] == pytest.approx(0.5)


@BOTH
def test_nothing_found_and_nothing_there(backend):
    records = [record(1, [[10, 10, 50, 50]], [0])]
    assert score(records, {1: found([], [], [])}, backend)["AP"] == 0
    empty = score([record(1, [], [])], {1: found([[1, 1, 5, 5]], [0.5], [0])}, backend)
    assert math.isnan(empty["AP"])
    assert "nan" in table(empty, "nothing", {})


def test_results_are_coco_results():
    metric = CocoMAP(GroundTruth([record(1, [[10, 10, 50, 50]], [0])]))
    metric.update([1], [found([[10, 20, 50, 80]], [0.75], [1])])
    assert metric.results() == [{"image_id": 1, "category_id": 17, "bbox": [10.0, 20.0, 40.0, 60.0], "score": 0.75}]


def test_unknown_backend():
    with pytest.raises(InputError, match="pycocotools, faster_coco_eval"):
        CocoMAP(GroundTruth([]), backend="coco")


@BOTH
def test_more_detections_than_coco_looks_at(backend):
    """150 objects of a class in one image, all found: 100 detections reach a recall of 2 / 3."""
    low = np.stack(np.meshgrid(np.arange(15.0), np.arange(10.0)), -1).reshape(-1, 2) * 20
    boxes = np.concatenate([low, low + 15], 1)
    metrics = {}
    for most in (100, 200):
        metric = CocoMAP(GroundTruth([record(1, boxes, [0] * 150)]), backend=backend, max_detections=most)
        metric.update([1], [found(boxes, np.linspace(0.9, 0.5, 150), [0] * 150)])
        metrics[most] = metric.compute()
        assert Matches.of(metric).average_precision().mean() == pytest.approx(metrics[most]["AP"])
    assert metrics[100]["AP"] == metrics[100]["AP50"] == pytest.approx(67 / 101)
    assert metrics[200]["AP"] == metrics[200]["AP50"] == metrics[200]["AR100"] == pytest.approx(1.0)
