"""COCO's rule as an assignment; its oracle is the rule by brute force, as that of the matches is pycocotools."""

import pytest
import torch
from torchvision.ops import box_iou

from detector.matchers.greedy import Greedy
from detector.types import StagePredictions, Target

OBJECTS = torch.tensor([[0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]])


def target(boxes, labels) -> Target:
    return Target(boxes, torch.tensor(labels, dtype=torch.int64), 7, (100, 100))


def predictions(boxes, scores, labels, classes=2) -> StagePredictions:
    logits = torch.full((len(boxes), classes), -9.0)
    logits[torch.arange(len(boxes)), torch.tensor(labels)] = torch.logit(torch.tensor(scores))
    return StagePredictions(logits[None], torch.tensor(boxes)[None])


def test_by_hand():
    """IoUs with the first object: .75, .9, .625; with the second: .875, but of the other class. The surest answers for
    six thresholds (.5 to .75), the one of .9 for the three more that it alone reaches, that of .625 for none."""
    made = predictions(
        [[0.0, 0.0, 0.4, 0.3], [0.0, 0.0, 0.4, 0.36], [0.0, 0.0, 0.4, 0.25], [0.5, 0.5, 0.9, 0.85]],
        [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1],
    )
    (assignment,) = Greedy()(made, [target(OBJECTS, [0, 0])])
    assert assignment.slots.tolist() == [0, 1] and assignment.objects.tolist() == [0, 0]
    torch.testing.assert_close(assignment.quality, torch.tensor([0.6, 0.3]))


def test_the_order_of_scores_decides():
    boxes = [[0.0, 0.0, 0.4, 0.3], [0.0, 0.0, 0.4, 0.36]]
    (assignment,) = Greedy()(predictions(boxes, [0.3, 0.8], [0, 0]), [target(OBJECTS, [0, 0])])
    assert assignment.slots.tolist() == [1]  # the other reaches nothing more
    torch.testing.assert_close(assignment.quality, torch.tensor([0.9]))


def brute_force(made: StagePredictions, wanted: Target) -> torch.Tensor:
    """Slot by slot and threshold by threshold."""
    scores, labels = made.logits[0].sigmoid().max(-1)
    iou, total = box_iou(made.boxes[0], wanted.boxes), torch.zeros(len(scores))
    for threshold in torch.arange(50, 100, 5) / 100:
        free = [True] * len(wanted.labels)
        for slot in scores.argsort(descending=True).tolist():
            allowed = [j for j, label in enumerate(wanted.labels) if free[j] and label == labels[slot]
                       and iou[slot, j] >= threshold]
            if allowed:
                free[max(allowed, key=lambda j: iou[slot, j])] = False
                total[slot] += 0.1
    return total


@pytest.mark.parametrize("seed", range(10))
def test_as_by_brute_force(seed):
    torch.manual_seed(seed)
    objects = torch.rand(6, 2) * 0.5
    objects = torch.cat([objects, objects + 0.1 + torch.rand(6, 2) * 0.4], 1)
    boxes = objects[torch.randint(6, (30,))] + 0.03 * torch.randn(30, 4)
    made = StagePredictions(torch.randn(1, 30, 2), boxes[None])
    wanted = target(objects, torch.randint(2, (6,)).tolist())
    (assignment,) = Greedy()(made, [wanted])
    quality = torch.zeros(30).index_put((assignment.slots,), assignment.quality)
    torch.testing.assert_close(quality, brute_force(made, wanted))
    assert len(assignment.slots) and (wanted.labels[assignment.objects] == made.logits[0].argmax(-1)[
        assignment.slots]).all()


def test_no_objects_and_empty_slots():
    made = StagePredictions(torch.full((1, 3, 2), -20.0), torch.zeros(1, 3, 4))
    for wanted in (target(OBJECTS[:0], []), target(OBJECTS, [0, 1])):
        (assignment,) = Greedy()(made, [wanted])
        assert len(assignment.slots) == len(assignment.objects) == 0


def test_what_is_not_finite_names_the_image():
    made = predictions([[0.0, 0.0, 0.4, 0.3]], [0.9], [0])
    made.logits[0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="image.s. 7: the predictions have diverged"):
        Greedy()(made, [target(OBJECTS, [0, 0])])
