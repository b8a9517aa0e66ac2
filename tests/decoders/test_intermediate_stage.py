"""The stage that refines proposals, by itself and before a sequence."""

import math

import pytest
import torch
from small_decoders import CANVAS, listed, mixed, proposals, pyramid, randomised, scene, sequence_decoder
from torchvision.ops import box_iou, generalized_box_iou_loss

from detector.decoders.intermediate_stage import IntermediateStage, averaged
from detector.errors import InputError
from detector.losses.set_loss import SetLoss
from detector.losses.varifocal import Varifocal
from detector.matchers.greedy import Greedy
from detector.types import Target


def stage(correction: float = 0.0) -> IntermediateStage:
    torch.manual_seed(0)
    made = IntermediateStage(
        width=8, strides=[8, 16, 32], num_classes=3, hidden_size=16, dropout=0.0, points=2
    )
    for output in (made.classes[-1], made.box[-1]):
        torch.nn.init.normal_(output.weight, std=correction)
    return made.eval()


def test_without_corrections_it_returns_what_it_was_given():
    given = proposals(invalid=3)
    refined, hidden = stage()(scene(given), given)
    torch.testing.assert_close(refined.boxes, given.boxes)
    assert torch.equal(refined.logits, given.logits) and hidden.shape == (2, 13, 16)
    assert refined.one_to_many and refined.valid is given.valid


def test_corrections_by_hand():
    """The centre moves by sides of the box, sides grow by a factor, scores by their logits."""
    one = stage()
    one.box[-1].bias.data = torch.tensor([0.5, -0.25, 0.0, math.log(3)])
    one.classes[-1].bias.data = torch.tensor([1.0, 0.0, -1.0])
    given = listed(torch.zeros(1, 1, 3), torch.tensor([[[0.4, 0.4, 0.6, 0.5]]]))
    refined, _ = one(scene(given, pyramid(batch=1)), given)
    torch.testing.assert_close(refined.boxes, torch.tensor([[[0.5, 0.275, 0.7, 0.575]]]))
    torch.testing.assert_close(refined.logits, torch.tensor([[[1.0, 0.0, -1.0]]]))
    torch.testing.assert_close(averaged(refined, given).logits, torch.tensor([[[0.5, 0.0, -0.5]]]))


def test_each_proposal_is_refined_by_itself():
    given = proposals()
    other = mixed(given)
    one, again = (stage(0.1)(scene(some), some)[0] for some in (given, listed(other.logits, other.boxes)))
    torch.testing.assert_close(mixed(one).boxes, again.boxes)
    torch.testing.assert_close(mixed(one).logits, again.logits)
    assert (one.boxes - given.boxes).abs().max() > 0.01


def test_it_sees_what_lies_just_outside_of_a_box():
    """On the finest level; further away it sees nothing."""
    given = listed(torch.zeros(1, 1, 3), torch.tensor([[[0.25, 0.25, 0.75, 0.75]]]))
    plain = [torch.zeros_like(level) for level in pyramid(batch=1)]
    near, far = ([level.clone() for level in plain] for _ in range(2))
    near[0][0, :, 6, 12] = 5.0  # columns 4 to 11 are inside; the window's last places lie at .779, column 12 at .781
    far[0][0, :, 6, 13] = 5.0
    of_nothing, of_near, of_far = (stage(0.1)(scene(given, maps), given)[0].boxes for maps in (plain, near, far))
    assert not torch.equal(of_near, of_nothing) and torch.equal(of_far, of_nothing)


def test_the_sequence_goes_through_refined_boxes_without_those_all_but_equal():
    decoder, given = randomised(sequence_decoder(intermediate=True, proposals=10, slots=6)), proposals()
    given.boxes[:, 3], given.logits[:, 3] = given.boxes[:, 0], given.logits[:, 0] - 1  # the same once more
    with torch.no_grad():
        refined, last = decoder(scene(given))
    assert decoder.proposals == 10 and refined.boxes.shape == (2, 10, 4) and last.boxes.shape == (2, 6, 4)
    score = averaged(refined, given).logits.amax(-1)
    for image in range(2):
        rank = score[image].argsort(descending=True).tolist()
        rank.remove(3)
        overlapping = box_iou(refined.boxes[image], refined.boxes[image]).fill_diagonal_(0) > 0.8
        assert overlapping.sum() == 2  # slots 0 and 3
        torch.testing.assert_close(last.boxes[image], refined.boxes[image, rank[:6]].clamp(0, 1))


def test_without_it_the_proposals_are_taken_as_they_are():
    decoder, given = sequence_decoder(proposals=50, slots=10), proposals()
    assert decoder.intermediate is None and decoder.proposals == 10
    assert decoder(scene(given))[0].boxes is given.boxes


def test_all_of_it_learns_and_nothing_else():
    decoder, maps, given = sequence_decoder(intermediate=True, feedback=True), pyramid(), proposals()
    maps = [level.requires_grad_() for level in maps]
    stages = decoder(scene(given, maps))
    targets = [Target(given.boxes[i, :3] + 0.01, given.logits[i, :3].argmax(-1), i, CANVAS) for i in range(2)]
    loss = SetLoss(
        matcher=Greedy(), class_loss=Varifocal(), overlap_loss=generalized_box_iou_loss, class_weight=1, l1_weight=5,
        overlap_weight=2, positive_iou=0.5,
    )
    torch.stack(list(loss(stages, targets).values())).sum().backward()
    assert all(one.grad is None for one in maps)
    assert all(one.grad.abs().sum() > 0 for one in decoder.parameters())


def test_the_sequence_teaches_the_stage_nothing():
    decoder = randomised(sequence_decoder(intermediate=True))
    decoder(scene())[-1].logits.sum().backward()
    assert all(one.grad is None for one in decoder.intermediate.parameters())
    assert decoder.region_features.features.weight.grad.abs().sum() > 0


def test_thin_above_out_of_range():
    with pytest.raises(InputError, match=r"decoder\.thin_above is 1\.5; it must lie between 0 and 1"):
        sequence_decoder(intermediate=True, thin_above=1.5)
