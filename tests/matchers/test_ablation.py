"""The matchers of 2016, and matching region by region."""

import itertools
import math

import pytest
import torch

from detector.errors import InputError
from detector.matchers.first_k import FirstK
from detector.matchers.fixed_order import FixedOrder
from detector.matchers.hungarian import Hungarian
from detector.matchers.lexicographic import Lexicographic
from detector.types import StagePredictions, Target

COSTS = {"class_cost": 2.0, "l1_cost": 5.0, "giou_cost": 2.0}


def random_boxes(generator, count):
    low = torch.rand(count, 2, generator=generator) * 0.6
    return torch.cat([low, low + 0.05 + 0.3 * torch.rand(count, 2, generator=generator)], -1)


def predictions(boxes, classes=1, logits=None) -> StagePredictions:
    logits = torch.zeros(1, len(boxes), classes) if logits is None else logits
    return StagePredictions(logits, boxes.unsqueeze(0))


def target(boxes) -> Target:
    return Target(boxes, torch.zeros(len(boxes), dtype=torch.int64), 7, (9, 9))


def pairs(assignment) -> dict[int, int]:
    return dict(zip(assignment.slots.tolist(), assignment.objects.tolist()))


@pytest.mark.parametrize("slots, objects", [(6, 3), (4, 4), (3, 4), (5, 1), (3, 0)])
@pytest.mark.parametrize("seed", range(4))
def test_lexicographic_against_every_assignment(slots, objects, seed):
    """The triples of every assignment are summed and compared as Python compares tuples."""
    generator = torch.Generator().manual_seed(seed)
    boxes, ground_truth = random_boxes(generator, slots), random_boxes(generator, objects)

    def triple(slot: int, item: int) -> tuple:
        x, y = ((boxes[slot, :2] + boxes[slot, 2:]) / 2).tolist()
        x1, y1, x2, y2 = ground_truth[item].tolist()
        distance = round(2**16 * (boxes[slot].double() - ground_truth[item].double()).abs().sum().item())
        return (int(not (x1 <= x <= x2 and y1 <= y <= y2)), slot, distance)

    def total(pairing) -> tuple:
        return tuple(map(sum, zip(*(triple(s, o) for s, o in pairing)))) or (0, 0, 0)

    if objects <= slots:
        every = (list(zip(chosen, range(objects))) for chosen in itertools.permutations(range(slots), objects))
    else:
        every = (list(zip(range(slots), chosen)) for chosen in itertools.permutations(range(objects), slots))
    (assignment,) = Lexicographic()(predictions(boxes), [target(ground_truth)])
    assert total(pairs(assignment).items()) == min(map(total, every))


def test_lexicographic_by_hand():
    """Slot 2 lies best on the object, slot 1 lies on it, slot 0 beside it: slot 1 answers, being the earlier on it."""
    ground_truth = torch.tensor([[0.4, 0.4, 0.6, 0.6]])
    boxes = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.3, 0.3, 0.8, 0.8], [0.4, 0.4, 0.6, 0.6]])
    (assignment,) = Lexicographic()(predictions(boxes), [target(ground_truth)])
    assert pairs(assignment) == {1: 0}
    with pytest.raises(OverflowError, match="100000 slots and 200 objects are too many"):
        Lexicographic().cost(boxes[:1].expand(100_000, 4), ground_truth.expand(200, 4))


def test_distances_far_beyond_the_canvas_never_outweigh_a_rank():
    ground_truth = torch.tensor([[0.4, 0.4, 0.6, 0.6]])
    boxes = torch.tensor([[-50.0, -50.0, 51.0, 51.0], [0.4, 0.4, 0.6, 0.6]])  # centred on the object all the same
    (assignment,) = Lexicographic()(predictions(boxes), [target(ground_truth)])
    assert pairs(assignment) == {0: 0}


def test_fixed_order():
    ground_truth = torch.tensor([[0.6, 0.0, 0.7, 0.9], [0.1, 0.5, 0.2, 0.6], [0.3, 0.1, 0.6, 0.2]])
    boxes = torch.rand(5, 4)
    (by_position,) = FixedOrder(by="position")(predictions(boxes), [target(ground_truth)])
    assert pairs(by_position) == {0: 1, 1: 2, 2: 0}
    (by_size,) = FixedOrder(by="size")(predictions(boxes[:2]), [target(ground_truth)])
    assert pairs(by_size) == {0: 0, 1: 2}  # the largest two, as there are two slots
    with pytest.raises(InputError, match="by is 'colour'; there are position, size"):
        FixedOrder(by="colour")


def test_first_k_takes_the_first_slots_in_any_order():
    ground_truth = torch.tensor([[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]])
    # the perfect ones come too late
    boxes = torch.stack([ground_truth[1] + 0.2, ground_truth[0] + 0.2, ground_truth[0], ground_truth[1]])
    (assignment,) = FirstK(**COSTS)(predictions(boxes), [target(ground_truth)])
    assert pairs(assignment) == {0: 1, 1: 0}
    (whole,) = Hungarian(**COSTS)(predictions(boxes), [target(ground_truth)])
    assert pairs(whole) == {2: 0, 3: 1}


@pytest.mark.parametrize("matcher", [Hungarian(**COSTS), FirstK(**COSTS), Lexicographic(), FixedOrder()])
def test_slots_answer_only_for_their_region(matcher):
    """Two halves of two slots each; two objects are centred in the left half, none in the right, one on the line."""
    halves = torch.tensor([[0.0, 0.0, 0.5, 2.0], [0.5, 0.0, 2.0, 2.0]]).repeat_interleave(2, 0)
    ground_truth = torch.tensor(
        [[0.0, 0.0, 0.2, 0.2], [0.1, 0.3, 0.4, 0.5], [0.4, 0.0, 0.6, 0.2], [0.0, 0.6, 0.1, 0.9]]
    )
    given = predictions(ground_truth[[2, 3, 0, 1]])
    given.regions = halves
    (assignment,) = matcher(given, [target(ground_truth)])
    found = pairs(assignment)
    assert set(found) == {0, 1, 2}  # three objects on the left for two slots, one on the right
    assert found[2] == 2 and {found[0], found[1]} < {0, 1, 3}
    given.regions = halves.flip(0)
    (none,) = matcher(given, [Target(ground_truth[:0], torch.zeros(0, dtype=torch.int64), 0, (9, 9))])
    assert len(none.slots) == len(none.objects) == 0


@pytest.mark.parametrize("matcher", [Hungarian(**COSTS), FirstK(**COSTS), Lexicographic(), FixedOrder()])
@pytest.mark.parametrize("regions", [None, torch.tensor([[0.0, 0.0, 2.0, 2.0]]).expand(4, -1)], ids=["", "regions"])
def test_slots_that_are_not_valid_answer_for_nothing(matcher, regions):
    """Slots 0 and 2 are valid, in the second image none; the others are empty boxes beside the objects."""
    ground_truth = torch.tensor([[0.0, 0.0, 0.1, 0.1], [0.0, 0.0, 0.1, 0.2], [0.6, 0.6, 0.9, 0.9]])
    boxes = torch.zeros(2, 4, 4)
    boxes[:, [0, 2]] = torch.tensor([0.6, 0.6, 0.9, 0.9])
    valid = torch.tensor([[True, False, True, False], [False] * 4])
    given = StagePredictions(torch.full((2, 4, 1), -20.0), boxes, valid=valid, regions=regions)
    first, second = matcher(given, [target(ground_truth)] * 2)
    assert sorted(first.slots.tolist()) == [0, 2] and len(set(first.objects.tolist())) == 2
    assert len(second.slots) == len(second.objects) == 0


@pytest.mark.parametrize("matcher", [Hungarian(**COSTS), FirstK(**COSTS), Lexicographic(), FixedOrder()])
def test_divergence_names_the_image(matcher):
    boxes = torch.full((3, 4), math.nan)
    with pytest.raises(FloatingPointError, match=r"image\(s\) 7:"):
        matcher(predictions(boxes), [target(torch.tensor([[0.1, 0.1, 0.4, 0.4]]))])
