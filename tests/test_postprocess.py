import torch

from detector.postprocess import detections_of
from detector.types import StagePredictions


def predictions() -> StagePredictions:
    logits = torch.tensor([[[2.0, -3.0], [1.0, -3.0], [-1.0, 1.5], [-9.0, -9.0]]])
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.45], [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 1.3, 0.9]]])
    return StagePredictions(logits, boxes)


def test_each_slot_s_best_class_in_order_and_in_pixels():
    (found,) = detections_of(predictions(), [(100, 200)])
    assert found.steps.tolist() == [0, 1, 2, 3] and found.labels[:3].tolist() == [0, 0, 1]
    torch.testing.assert_close(found.boxes[0], torch.tensor([20.0, 10.0, 100.0, 50.0]))
    torch.testing.assert_close(found.boxes[3], torch.tensor([120.0, 60.0, 200.0, 90.0]))  # clipped to the image
    torch.testing.assert_close(found.scores[:3], torch.tensor([2.0, 1.0, 1.5]).sigmoid())


def test_slots_that_are_not_valid():
    given = predictions()
    given.valid = torch.tensor([[False, True, True, False]])
    (found,) = detections_of(given, [(100, 200)])
    assert found.steps.tolist() == [1, 2]
