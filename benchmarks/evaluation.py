"""How long the analysis takes beside pycocotools, on made-up images: python benchmarks/evaluation.py [IMAGES] [BOXES]

Prints the seconds of each part, and of all of them as a share of pycocotools' own.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from detector.data.annotations import Record
from detector.data.dataset import DetectionDataset
from detector.detections import Detections
from detector.evaluation.analysis import analyse
from detector.evaluation.coco_map import CocoMAP
from detector.evaluation.matches import Matches

CLASSES = 80


class MadeUp(DetectionDataset):
    """As much of a data set as the metric looks at: seven objects an image, as in COCO."""

    def __init__(self, images: int):
        random = np.random.default_rng(0)
        self.class_names, self.category_ids = [f"class {i}" for i in range(CLASSES)], list(range(1, CLASSES + 1))
        self.records = []
        for number in range(images):
            count = random.poisson(7)
            low = random.random((count, 2)) * 500
            boxes = np.concatenate([low, low + 10 + 100 * random.random((count, 2))], 1)
            none = np.zeros(count, dtype=bool)
            self.records.append(Record(
                number + 1, Path("none"), (640, 640), boxes, random.integers(0, CLASSES, count), none, none,
                (boxes[:, 2:] - boxes[:, :2]).prod(1),
            ))


def detections(record: Record, count: int) -> Detections:
    """Every object with a little noise, and other boxes of the same classes."""
    random = np.random.default_rng(record.image_id)
    low = random.random((count, 2)) * 500
    boxes = np.concatenate([low, low + 10 + 100 * random.random((count, 2))], 1)
    labels = random.choice(record.labels if len(record.labels) else [0], count)
    shown = min(count, len(record.labels))
    boxes[:shown] = record.boxes[:shown] + random.normal(0, 6, (shown, 4))
    labels[:shown] = record.labels[:shown]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return Detections(
        torch.from_numpy(boxes), torch.from_numpy(random.random(count)), torch.from_numpy(labels), torch.arange(count)
    )


def main(images: int = 5000, boxes: int = 100) -> None:
    data = MadeUp(images)
    metric = CocoMAP(data)
    metric.update([record.image_id for record in data.records], [detections(record, boxes) for record in data.records])

    def timed(name, work):
        start = time.perf_counter()
        made = work()
        seconds[name] = time.perf_counter() - start
        return made

    seconds: dict[str, float] = {}
    scores = timed("pycocotools", metric.compute)
    matches = timed("matches", lambda: Matches.of(metric))
    tables = timed("analysis", lambda: analyse(metric, matches, scores, np.full(CLASSES, 0.5)))
    assert abs(np.nanmean(matches.average_precision()) - scores["AP"]) < 1e-6 and tables
    for name, spent in seconds.items():
        print(f"{name:<12} {spent:7.1f} s")
    ours = seconds["matches"] + seconds["analysis"]
    print(f"ours / pycocotools: {ours / seconds['pycocotools']:.2f} ({images} images, {boxes} boxes each)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
