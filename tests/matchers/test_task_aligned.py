import pytest
import torch

from detector.matchers.task_aligned import TaskAligned
from detector.types import Locations, Target


def grid(side: int) -> Locations:
    centre = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    return Locations(torch.stack([x, y], -1).flatten(0, 1), torch.full((side * side, 2), 1 / side), [(side, side)])


def boxes_around(locations: Locations, half: float) -> torch.Tensor:
    return torch.cat([locations.centres - half, locations.centres + half], 1)


def test_by_hand():
    """Four locations; the object holds the left two; scores ½ and ¼, IoUs 1 and ½."""
    locations = grid(2)
    logits = torch.tensor([[0.0], [0.0], [-1.0986123], [0.0]])  # scores .5, .5, .25, .5
    ground_truth = torch.tensor([[0.0, 0.0, 0.5, 1.0]])
    boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 1.0]])
    places, objects, scores, shares = TaskAligned(top=9, alpha=1, beta=2)(
        logits, boxes, locations, Target(ground_truth, torch.tensor([0]), 0, (10, 10))
    )
    assert places.tolist() == [0, 2] and objects.tolist() == [0, 0]
    # metrics ½·1² and ¼·½²; the best is given the largest IoU, the other its share of it
    assert shares.tolist() == pytest.approx([1.0, (0.25 * 0.25) / 0.5])
    assert scores.tolist() == pytest.approx([1.0, (0.25 * 0.25) / 0.5])  # the largest IoU is 1
    poor = Target(torch.tensor([[0.0, 0.0, 0.4, 1.0]]), torch.tensor([0]), 0, (10, 10))
    _, _, scores, shares = TaskAligned(top=9, alpha=1, beta=2)(logits, boxes, locations, poor)
    assert shares.max() == 1 and scores.max().item() == pytest.approx(0.8)


def test_only_the_best_are_taken_and_each_place_has_one_object():
    locations = grid(8)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 2, generator=generator)
    target = Target(
        torch.tensor([[0.0, 0.0, 0.8, 0.8], [0.1, 0.1, 0.9, 0.9]]), torch.tensor([0, 1]), 0, (10, 10)
    )
    places, objects, scores, _ = TaskAligned(top=5)(logits, boxes_around(locations, 0.3), locations, target)
    assert len(set(places.tolist())) == len(places) <= 10
    assert max((objects == 0).sum(), (objects == 1).sum()) <= 5
    assert ((scores > 0) & (scores <= 1)).all()


def test_an_object_between_all_locations_still_gets_one():
    locations = grid(4)
    tiny = Target(torch.tensor([[0.30, 0.30, 0.32, 0.32]]), torch.tensor([0]), 0, (100, 100))
    places, objects, _, _ = TaskAligned()(torch.zeros(16, 1), boxes_around(locations, 0.05), locations, tiny)
    assert places.tolist() == [5]  # the cell that holds (.31, .31)


@pytest.mark.parametrize("half, score", [(0.25, 0.01), (0.5, 1e-4), (0.001, 0.01)])
def test_shares_reach_one_however_small_the_metric(half, score):
    """At the start of training: boxes far larger than a 4-pixel object, low scores; the last overlap it nowhere."""
    locations = grid(16)
    tiny = Target(torch.tensor([[0.495, 0.495, 0.505, 0.505]]), torch.tensor([0]), 0, (400, 400))
    logits = torch.full((256, 1), score).logit()
    _, _, scores, shares = TaskAligned()(logits, boxes_around(locations, half), locations, tiny)
    assert shares.max() == 1 and shares.isfinite().all()
    iou = 0.0 if half < 0.01 else 0.01**2 / (2 * half) ** 2
    assert scores.max().item() == pytest.approx(iou, rel=0.01)


def test_no_objects():
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, (10, 10))
    places, objects, scores, shares = TaskAligned()(torch.zeros(4, 1), boxes_around(grid(2), 0.1), grid(2), nothing)
    assert len(places) == len(objects) == len(scores) == len(shares) == 0
