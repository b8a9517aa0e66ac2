import torch

from detector.postprocess import NOTHING, detections_of, suppress, thin
from detector.types import Predictions, StagePredictions


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


def test_thinning_by_hand():
    """The second box is all but equal to the first, the third to the second but not to the first, the fourth of another
    class, the fifth equal to the fourth in score too, the last is none."""
    left = torch.tensor([0.0, 0.02, 0.04, 0.02, 0.02, 0.5])
    boxes = torch.stack([left, torch.zeros(6), left + 0.2, torch.full((6,), 0.2)], 1).unsqueeze(0)
    logits = torch.tensor([[[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.0, 2.5], [0.0, 2.5], [NOTHING, NOTHING]]])
    kept = thin(Predictions(logits, boxes), above=0.8, slots=5)
    assert kept.valid.tolist() == [[True, True, True, False, False]]
    assert torch.equal(kept.logits[0, :3], logits[0, [0, 3, 2]]) and torch.equal(kept.boxes[0, :3], boxes[0, [0, 3, 2]])
    assert (kept.logits[0, 3:] == NOTHING).all() and (kept.boxes[0, 3:] == 0).all()
    assert thin(Predictions(logits, boxes), above=0.85, slots=5).valid.sum() == 4  # IoUs .818 and .667


def test_thinning_is_nms():
    generator = torch.Generator().manual_seed(0)
    low = 0.3 * torch.rand(4, 60, 2, generator=generator)
    boxes = torch.cat([low, low + 0.3 + 0.1 * torch.rand(4, 60, 2, generator=generator)], 2)
    given = Predictions(torch.randn(4, 60, 3, generator=generator), boxes)
    for above in (0.3, 0.5, 0.8):
        ours, theirs = thin(given, above=above, slots=40), suppress(given, threshold=above, slots=40)
        for part in ("valid", "logits", "boxes"):
            assert torch.equal(getattr(ours, part), getattr(theirs, part))
