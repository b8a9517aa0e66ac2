import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from detector.errors import InputError
from detector.losses.cross_entropy import CrossEntropy
from detector.losses.dense_loss import DenseLoss
from detector.losses.focal import Focal
from detector.losses.set_loss import SetLoss
from detector.losses.varifocal import Varifocal
from detector.matchers.hungarian import Hungarian
from detector.types import Assignment, Locations, Predictions, StagePredictions, Target


def test_varifocal_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, -math.log(3.0)]])  # scores .5 .75 / .5 .25
    positive = torch.tensor([[True, False], [False, False]])
    quality = torch.tensor([[0.8, 0.0], [0.0, 0.0]])
    expected = 0.8 * -(0.8 * math.log(0.5) + 0.2 * math.log(0.5))
    expected += 0.75 * (0.75**2 * -math.log(0.25) + 0.5**2 * -math.log(0.5) + 0.25**2 * -math.log(0.75))
    assert Varifocal(alpha=0.75, gamma=2.0)(logits, quality, positive).item() == pytest.approx(expected, rel=1e-5)


def test_focal_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])
    positive = torch.tensor([[True, False]])
    expected = 0.25 * 0.5**2 * -math.log(0.5) + 0.75 * 0.75**2 * -math.log(0.25)
    loss = Focal(alpha=0.25, gamma=2.0)
    assert loss(logits, positive.float(), positive).item() == pytest.approx(expected, rel=1e-5)
    assert loss(logits, positive * 0.1, positive).item() == pytest.approx(expected, rel=1e-5)  # whatever the IoU


def set_loss(matcher=None) -> SetLoss:
    matcher = matcher or Hungarian(class_cost=2, l1_cost=5, giou_cost=2)
    return SetLoss(matcher=matcher, class_loss=Varifocal(), overlap_loss=generalized_box_iou_loss, class_weight=1,
                   l1_weight=5, overlap_weight=2)


def test_set_loss_by_hand():
    """Two objects in two images; slot 1 answers exactly, slot 0 with a box half as wide."""
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]], [[0.0, 0.0, 0.25, 0.5], [0.2, 0.2, 0.3, 0.3]]])
    predictions = StagePredictions(torch.zeros(2, 2, 1), boxes)
    label = torch.tensor([0])
    targets = [
        Target(torch.tensor([[0.5, 0.5, 1.0, 1.0]]), label, 0, (9, 9)),
        Target(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), label, 1, (9, 9)),
    ]
    pairs = [Assignment(torch.tensor([1]), torch.tensor([0])), Assignment(torch.tensor([0]), torch.tensor([0]))]
    terms = set_loss().one_stage(predictions, pairs, targets)
    assert terms["l1"].item() == pytest.approx(5 * 0.25 / 2)
    assert terms["overlap"].item() == pytest.approx(2 * (0 + 0.5) / 2, abs=1e-5)
    log2 = math.log(2)
    assert terms["class"].item() == pytest.approx((1.0 * log2 + 0.5 * log2 + 2 * 0.75 * 0.25 * log2) / 2, rel=1e-5)


def test_boxes_of_a_one_to_many_stage_by_hand():
    """Slots 0 and 1 lie on the first object, slot 1 being matched; slot 2 is matched from afar, slot 3 lies nowhere."""
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.4], [0.0, 0.0, 0.5, 0.5], [0.6, 0.6, 0.7, 1.0], [0.0, 0.9, 0.1, 1.0]]])
    boxes.requires_grad_()
    predictions = StagePredictions(torch.zeros(1, 4, 1), boxes)
    targets = [Target(torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.6, 0.6, 1.0, 1.0]]), torch.tensor([0, 0]), 0, (9, 9))]
    pairs = [Assignment(torch.tensor([1, 2]), torch.tensor([0, 1]))]
    loss = set_loss()
    alone = loss.one_stage(predictions, pairs, targets)
    assert alone["l1"].item() == pytest.approx(5 * 0.3 / 2)
    loss.positive_iou = 0.5
    assert loss.one_stage(predictions, pairs, targets) == alone  # it is one-to-one
    predictions.one_to_many = True
    terms = loss.one_stage(predictions, pairs, targets)
    assert terms["l1"].item() == pytest.approx(5 * (0.1 / 2 + 0.3) / 2)
    assert terms["overlap"].item() == pytest.approx(2 * ((1 - 0.8) / 2 + 1 - 0.25) / 2, rel=1e-4)
    terms["l1"].backward()
    assert boxes.grad[0].abs().sum(1).gt(0).tolist() == [True, False, True, False]
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, (9, 9))
    no_pairs = Assignment(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    none = loss.one_stage(predictions, [no_pairs], [nothing])
    assert none["l1"].item() == none["overlap"].item() == 0


def test_scores_of_a_one_to_many_stage_by_hand():
    """Slots 0 and 1 lie on the object with IoU .8 and 1, slot 1 being matched; slot 2 lies nowhere."""
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.4], [0.0, 0.0, 0.5, 0.5], [0.0, 0.9, 0.1, 1.0]]])
    target = Target(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), torch.tensor([0]), 0, (9, 9))
    pairs = [Assignment(torch.tensor([1]), torch.tensor([0]))]
    loss, log2 = set_loss(), math.log(2)
    one_to_one = (1 + 2 * 0.75 * 0.25) * log2
    for positive_iou, many, expected in (
        (None, False, one_to_one), (None, True, one_to_one), (0.5, False, one_to_one),
        (0.5, True, (0.8 + 1 + 0.75 * 0.25) * log2 / 1.8),  # divided by the sum of the IoUs
    ):
        loss.positive_iou = positive_iou
        terms = loss.one_stage(StagePredictions(torch.zeros(1, 3, 1), boxes, one_to_many=many), pairs, [target])
        assert terms["class"].item() == pytest.approx(expected, rel=1e-4)
    pairs[0].quality = torch.tensor([0.3])  # of one box among those of an object: here each has its IoU
    terms = loss.one_stage(StagePredictions(torch.zeros(1, 3, 1), boxes, one_to_many=True), pairs, [target])
    assert terms["class"].item() == pytest.approx(expected, rel=1e-4)


def test_a_perfect_answer_costs_nothing():
    ground_truth = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.2, 0.9, 0.9]])
    target = Target(ground_truth, torch.tensor([1, 0]), 0, (9, 9))
    boxes = torch.cat([ground_truth.flip(0), torch.tensor([[0.0, 0.0, 0.1, 0.1]])]).unsqueeze(0)
    logits = torch.full((1, 3, 2), -30.0)
    logits[0, 0, 0] = logits[0, 1, 1] = 30.0
    terms = set_loss()([StagePredictions(logits, boxes)] * 2, [target])
    assert all(term.item() == pytest.approx(0, abs=1e-5) for term in terms.values())


def test_every_stage_counts():
    target = Target(torch.tensor([[0.1, 0.1, 0.4, 0.5]]), torch.tensor([0]), 0, (9, 9))
    one = StagePredictions(torch.zeros(1, 2, 1), torch.tensor([[[0.1, 0.1, 0.3, 0.5], [0.6, 0.6, 0.9, 0.9]]]))
    once, twice = set_loss()([one], [target]), set_loss()([one, one], [target])
    for name in once:
        assert twice[name].item() == pytest.approx(2 * once[name].item())


@pytest.mark.parametrize("overlap_loss", [generalized_box_iou_loss, distance_box_iou_loss, complete_box_iou_loss])
@pytest.mark.parametrize("class_loss", [Varifocal(), Focal(), CrossEntropy()])
@pytest.mark.parametrize("many", [False, True])
def test_slots_that_are_not_valid_are_background(overlap_loss, class_loss, many):
    """One slot is valid, of two objects; the others, empty boxes at the top left, cost and change nothing."""
    ground_truth = torch.tensor([[0.0, 0.0, 0.1, 0.1], [0.5, 0.5, 0.9, 0.9]])
    target = Target(ground_truth, torch.tensor([0, 1]), 0, (9, 9))
    boxes = torch.zeros(1, 3, 4)
    boxes[0, 0] = torch.tensor([0.5, 0.5, 0.9, 0.8])
    logits = torch.full((1, 3, 2), -20.0)
    logits[0, 0] = 0.0
    logits.requires_grad_(), boxes.requires_grad_()
    loss = set_loss()
    loss.overlap_loss, loss.class_loss, loss.positive_iou = overlap_loss, class_loss, 0.5
    given = StagePredictions(logits, boxes, one_to_many=many, valid=torch.tensor([[True, False, False]]))
    terms = loss([given], [target])
    alone = loss([StagePredictions(logits[:, :1], boxes[:, :1], one_to_many=many)], [target])
    assert all(term.isfinite() and term.item() == pytest.approx(alone[name].item()) for name, term in terms.items())
    torch.stack(list(terms.values())).sum().backward()
    assert logits.grad[0, 0].abs().sum() > 1e-3 and logits.grad[0, 1:].abs().max() < 1e-7
    assert boxes.grad[0, 0].abs().sum() > 0 and (boxes.grad[0, 1:] == 0).all()


def test_order_of_objects_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(6, 2, generator=generator) * 0.5
    boxes = torch.cat([low, low + 0.3], 1)
    predictions = StagePredictions(torch.randn(1, 6, 2, generator=generator), boxes.unsqueeze(0))
    ground_truth, labels = boxes[:3] + 0.02, torch.tensor([0, 1, 0])
    a = set_loss()([predictions], [Target(ground_truth, labels, 0, (9, 9))])
    b = set_loss()([predictions], [Target(ground_truth.flip(0), labels.flip(0), 0, (9, 9))])
    assert all(a[name].item() == pytest.approx(b[name].item(), rel=1e-5) for name in a)


def test_dense_loss_by_hand():
    """One positive location of class target .6 and share .8 whose box covers half of the object, one empty location."""

    def assigner(logits: Tensor, boxes: Tensor, locations: Locations, target: Target):
        return torch.tensor([0]), torch.tensor([0]), torch.tensor([0.6]), torch.tensor([0.8])

    dense = Predictions(torch.zeros(1, 2, 1), torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.1, 0.1]]]))
    target = Target(torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.tensor([0]), 0, (9, 9))
    locations = Locations(torch.zeros(2, 2), torch.ones(2, 2), [(1, 2)])
    options = {"assigner": assigner, "class_loss": Varifocal(), "class_weight": 1, "giou_weight": 2}
    terms = DenseLoss(**options)(dense, locations, [target])
    log2 = math.log(2)
    equal = DenseLoss(**options, box_weight="equal")(dense, locations, [target])
    assert equal["dense_giou"].item() == pytest.approx(2 * 0.5 * 0.8, abs=1e-5)
    with pytest.raises(InputError, match="box_weight is 'none'; there are quality, equal"):
        DenseLoss(**options, box_weight="none")
    assert terms["dense_giou"].item() == pytest.approx(2 * 0.5 * 0.6, abs=1e-5)  # divided by 1, as .6 is less
    assert terms["dense_class"].item() == pytest.approx(0.6 * log2 + 0.75 * 0.25 * log2, rel=1e-5)
