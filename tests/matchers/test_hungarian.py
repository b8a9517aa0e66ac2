import itertools
import math

import pytest
import torch

from detector.matchers.hungarian import Hungarian
from detector.types import StagePredictions, Target

COSTS = {"class_cost": 2.0, "l1_cost": 5.0, "giou_cost": 2.0}


def random_boxes(generator, *shape):
    low = torch.rand(*shape, 2, generator=generator) * 0.6
    return torch.cat([low, low + 0.05 + 0.3 * torch.rand(*shape, 2, generator=generator)], -1)


@pytest.mark.parametrize("slots, objects", [(5, 3), (4, 4), (2, 4), (3, 0), (6, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_assignment_costs_less(slots, objects, seed):
    generator = torch.Generator().manual_seed(seed)
    matcher = Hungarian(**COSTS, rank_cost=0.5)
    predictions = StagePredictions(torch.randn(1, slots, 3, generator=generator), random_boxes(generator, 1, slots))
    target = Target(random_boxes(generator, objects), torch.randint(0, 3, (objects,), generator=generator), 7, (9, 9))
    (assignment,) = matcher(predictions, [target])
    cost = matcher.cost(predictions.logits[0], predictions.boxes[0], target.labels, target.boxes)
    pairs = min(slots, objects)
    if objects <= slots:
        every = (list(zip(chosen, range(objects))) for chosen in itertools.permutations(range(slots), objects))
    else:
        every = (list(zip(range(slots), chosen)) for chosen in itertools.permutations(range(objects), slots))
    least = min(sum(cost[s, o].item() for s, o in pairing) for pairing in every)
    found = cost[assignment.slots, assignment.objects].sum().item()
    slots, objects = assignment.slots.tolist(), assignment.objects.tolist()
    assert len(slots) == len(set(slots)) == len(set(objects)) == pairs
    assert found == pytest.approx(least, abs=1e-5)


def test_cost_by_hand():
    matcher = Hungarian(**COSTS, rank_cost=3.0, alpha=0.25, gamma=2.0)
    logits = torch.tensor([[0.0, 9.0], [math.log(3.0), 0.0]])  # scores of class 0: 0.5 and 0.75
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 0.5]])
    target = Target(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), torch.tensor([0]), 0, (10, 10))
    cost = matcher.cost(logits, boxes, target.labels, target.boxes)
    focal = [0.25 * (1 - p) ** 2 * -math.log(p) - 0.75 * p**2 * -math.log(1 - p) for p in (0.5, 0.75)]
    assert cost[0, 0].item() == pytest.approx(2 * focal[0] + 0 - 2 * 1.0 + 0, abs=1e-5)
    assert cost[1, 0].item() == pytest.approx(2 * focal[1] + 5 * 0.5 - 2 * 0.5 + 3 * 0.5, abs=1e-5)


def test_rank_cost_prefers_the_earlier_of_two_equals():
    twice = StagePredictions(torch.zeros(1, 2, 1), torch.tensor([[[0.1, 0.1, 0.4, 0.4]] * 2]))
    target = Target(torch.tensor([[0.1, 0.1, 0.4, 0.4]]), torch.tensor([0]), 0, (10, 10))
    (assignment,) = Hungarian(**COSTS, rank_cost=1.0)(twice, [target])
    assert assignment.slots.tolist() == [0]


def test_permuting_objects_permutes_the_pairs():
    generator = torch.Generator().manual_seed(3)
    predictions = StagePredictions(torch.randn(1, 8, 2, generator=generator), random_boxes(generator, 1, 8))
    boxes, labels = random_boxes(generator, 4), torch.tensor([0, 1, 1, 0])
    order = torch.tensor([2, 0, 3, 1])
    (plain,) = Hungarian(**COSTS)(predictions, [Target(boxes, labels, 0, (9, 9))])
    (mixed,) = Hungarian(**COSTS)(predictions, [Target(boxes[order], labels[order], 0, (9, 9))])
    slot_of = dict(zip(plain.objects.tolist(), plain.slots.tolist()))
    assert {order[o].item(): s for o, s in zip(mixed.objects.tolist(), mixed.slots.tolist())} == slot_of


def test_costs_are_float32_even_for_half_predictions():
    predictions = StagePredictions(torch.zeros(1, 2, 1).bfloat16(), torch.rand(1, 2, 4).bfloat16())
    target = Target(torch.tensor([[0.1, 0.1, 0.4, 0.4]]), torch.tensor([0]), 0, (10, 10))
    assert len(Hungarian(**COSTS)(predictions, [target])[0].slots) == 1


def test_divergence_names_the_images():
    predictions = StagePredictions(torch.zeros(2, 2, 1), torch.full((2, 2, 4), 0.2))
    predictions.logits[1, 0, 0] = float("nan")
    targets = [Target(torch.tensor([[0.1, 0.1, 0.4, 0.4]]), torch.tensor([0]), number, (10, 10)) for number in (41, 42)]
    with pytest.raises(FloatingPointError, match=r"image\(s\) 42:"):
        Hungarian(**COSTS)(predictions, targets)
