import math

import torch

from detector.postprocess import detections_of, suppress
from detector.types import Predictions


def found(**options) -> list:
    logits = torch.tensor([[[2.0, -3.0], [1.0, -3.0], [-1.0, 1.5], [-9.0, -9.0]]])
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.45], [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 1.3, 0.9]]])
    return detections_of(suppress(Predictions(logits, boxes), **options), [(100, 200)])


def test_suppression_is_within_a_class():
    (kept,) = found(threshold=0.5)
    assert kept.labels[:2].tolist() == [0, 1]  # the second box of class 0 is gone, the equal one of class 1 stays
    assert len(kept) == 3 and kept.steps.tolist() == [0, 1, 2]
    assert kept.scores.tolist() == sorted(kept.scores.tolist(), reverse=True)


def test_it_keeps_at_most_so_many():
    (kept,) = found(threshold=0.99, slots=2)
    assert len(kept) == 2


def test_soft_suppression_by_hand():
    """The second box of class 0 overlaps the first by 7/8."""
    (kept,) = found(threshold=0.5, soft_sigma=0.5)
    sigmoid = torch.tensor([2.0, 1.5, 1.0, -9.0]).sigmoid().tolist()
    expected = [sigmoid[0], sigmoid[1], sigmoid[2] * math.exp(-((7 / 8) ** 2) / 0.5), sigmoid[3]]
    assert kept.labels[:3].tolist() == [0, 1, 0]
    torch.testing.assert_close(kept.scores, torch.tensor(expected), atol=1e-5, rtol=1e-4)


def test_soft_suppression_takes_the_best_of_what_is_left():
    """Three boxes of one class on one object and a worse one elsewhere: the elsewhere one comes second."""
    logits = torch.tensor([[[3.0], [2.9], [2.8], [1.0]]])
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5]] * 3 + [[0.6, 0.6, 0.9, 0.9]]])
    kept = suppress(Predictions(logits, boxes), threshold=0.5, soft_sigma=0.5, slots=3)
    assert kept.boxes[0, :, 0].tolist()[1] > 0.55 and kept.valid.tolist() == [[True] * 3]


def test_soft_suppression_of_boxes_without_area():
    """The IoU of two of them is no number; each is kept once, with the score it has."""
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2], [0.7, 0.3, 0.7, 0.3]]])
    (kept,) = detections_of(
        suppress(Predictions(torch.tensor([[[2.0], [1.0], [0.5], [0.2]]]), boxes), threshold=0.5, soft_sigma=0.5),
        [(100, 200)],
    )
    torch.testing.assert_close(kept.scores, torch.tensor([2.0, 1.0, 0.5, 0.2]).sigmoid())
