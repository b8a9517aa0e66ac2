"""Losses of a sequence, and the class losses beside varifocal and focal."""

import math

import pytest
import torch
from test_losses import set_loss

from detector.losses.cross_entropy import CrossEntropy
from detector.losses.matchability import Matchability
from detector.losses.pointer_loss import pointer_loss
from detector.losses.stop import stop_loss
from detector.types import Assignment, StagePredictions, Target

LOG2 = math.log(2)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])  # scores .5 .75 / .5 .5
    positive = torch.tensor([[True, False], [False, False]])
    loss = CrossEntropy(negative_weight=0.5)(logits, positive * 0.3, positive)
    assert loss.item() == pytest.approx(LOG2 + 0.5 * (-math.log(0.25) + 2 * LOG2), rel=1e-5)


def test_matchability_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])
    positive = torch.tensor([[True, False]])
    quality = torch.tensor([[0.64, 0.0]])
    target = 0.64**1.5
    expected = -(target * math.log(0.5) + (1 - target) * math.log(0.5)) + 0.75**1.5 * -math.log(0.25)
    assert Matchability(gamma=1.5)(logits, quality, positive).item() == pytest.approx(expected, rel=1e-5)


def test_matchability_learns_from_poor_boxes():
    """Where varifocal's weight of a positive vanishes with its IoU, this one's does not."""
    logits = torch.zeros(1, 1, requires_grad=True)
    Matchability()(logits, torch.tensor([[0.01]]), torch.tensor([[True]])).backward()
    assert logits.grad.item() == pytest.approx(0.5 - 0.01**1.5, rel=1e-4)


def test_stop_by_hand():
    """Steps 0 and 2 answer, so the sequence is to stop at step 3; what comes later does not count."""
    assignments = [Assignment(torch.tensor([2, 0]), torch.tensor([0, 1]))]
    probability = torch.tensor([[0.1, 0.2, 0.3, 0.9, 0.5]])
    expected = -math.log(0.9) - math.log(0.8) - math.log(0.7) - math.log(0.9)
    assert stop_loss(torch.logit(probability), assignments).item() == pytest.approx(expected, rel=1e-4)
    nothing = [Assignment(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))]
    assert stop_loss(torch.logit(probability), nothing).item() == pytest.approx(-math.log(0.1), rel=1e-4)
    every = [Assignment(torch.arange(5), torch.arange(5))]  # no step is left to stop at
    expected = -sum(math.log(1 - p) for p in probability[0].tolist())
    assert stop_loss(torch.logit(probability), every).item() == pytest.approx(expected, rel=1e-4)


def test_pointer_loss_by_hand():
    logits = torch.tensor([[[0.0, math.log(2.0), -math.inf], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0]]])
    correct = torch.tensor([[[True, False, False], [True, False, True], [False, False, False]]])
    assert pointer_loss(logits, correct).item() == pytest.approx(-math.log(1 / 3) - math.log(2 / 3), rel=1e-5)


def test_what_a_decoder_asks_for_is_part_of_the_set_loss():
    boxes = torch.tensor([[[0.1, 0.1, 0.4, 0.5], [0.6, 0.6, 0.9, 0.9]]])
    target = Target(boxes[0], torch.tensor([0, 0]), 0, (9, 9))
    one = StagePredictions(
        torch.tensor([[[0.0], [1.0]]]), boxes, stop=torch.zeros(1, 2), losses={"pointer": torch.tensor(3.0)}
    )
    loss = set_loss()
    loss.stop_weight = 2.0
    terms = loss([one, StagePredictions(torch.tensor([[[0.0], [1.0]]]), boxes)], [target])
    assert set(terms) == {"class", "l1", "overlap", "pointer", "stop"}
    assert terms["pointer"].item() == pytest.approx(3.0 / 2)  # two objects
    assert terms["stop"].item() == pytest.approx(2.0 * 2 * LOG2 / 2, rel=1e-5)
    assert set_loss()([], [target]) == {}
