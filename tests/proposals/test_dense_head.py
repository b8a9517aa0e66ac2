import math

import pytest
import torch
from torchvision.ops import box_iou

from detector.errors import InputError
from detector.postprocess import NOTHING
from detector.proposals.dense_head import DenseHead
from detector.types import Predictions


def head(**options) -> DenseHead:
    torch.manual_seed(0)
    return DenseHead(width=16, strides=[8, 16, 32], num_classes=2, **options)


def test_locations_are_cell_centres():
    maps = [torch.zeros(1, 16, 4, 6), torch.zeros(1, 16, 2, 3), torch.zeros(1, 16, 1, 2)]
    dense, locations = head()(maps, (32, 48))
    assert dense.logits.shape == (1, 24 + 6 + 2, 2) and locations.shapes == [(4, 6), (2, 3), (1, 2)]
    pixels = locations.centres * torch.tensor([48.0, 32.0])
    assert pixels[0].tolist() == [4, 4] and pixels[23].tolist() == [44, 28] and pixels[24].tolist() == [8, 8]
    assert pixels[-1].tolist() == [48, 16]  # a cell that the canvas fills by half
    inside = (dense.boxes[..., :2] < locations.centres).all() and (dense.boxes[..., 2:] > locations.centres).all()
    assert inside


def test_scores_start_at_the_prior():
    pyramid = [torch.randn(1, 16, 4, 6), torch.randn(1, 16, 2, 3), torch.randn(1, 16, 1, 2)]
    dense, _ = head(prior=0.01)(pyramid, (32, 48))
    assert (dense.logits.sigmoid() - 0.01).abs().max() < 0.01


def some_dense(images=2, locations=300, classes=2, spread=1.5) -> Predictions:
    """Boxes that reach beyond the canvas, many all but equal to others."""
    generator = torch.Generator().manual_seed(0)
    low = (torch.rand(images, locations, 2, generator=generator) * spread * 6).round() / 6 - 0.2
    low += 0.02 * torch.rand(images, locations, 2, generator=generator)
    boxes = torch.cat([low, low + 0.2 + 0.1 * torch.rand(images, locations, 2, generator=generator)], -1)
    return Predictions(torch.randn(images, locations, classes, generator=generator), boxes)


def suppressed(logits: torch.Tensor, boxes: torch.Tensor, threshold: float) -> list[int]:
    """The locations of an image by descending score, without those that an earlier one of their class suppresses."""
    score, label = logits.max(-1)
    kept: list[int] = []
    for one in score.argsort(descending=True).tolist():
        rivals = [other for other in kept if label[other] == label[one]]
        iou = box_iou(boxes[[one]].double(), boxes[rivals].double())
        if not (iou > threshold).any():  # nor where neither has an area
            kept.append(one)
    return kept


@pytest.mark.parametrize("threshold", [0.3, 0.8])
@pytest.mark.parametrize("slots", [1, 40, 400])
def test_proposals_are_what_suppression_leaves(threshold, slots):
    dense = some_dense()
    chosen = head(nms_threshold=threshold).select(dense, slots)
    assert chosen.logits.shape == (2, slots, 2) and chosen.boxes.shape == (2, slots, 4)
    for image in range(2):
        clipped = dense.boxes[image].clamp(0, 1)
        expected = suppressed(dense.logits[image], clipped, threshold)
        count = min(slots, len(expected))
        assert 10 < len(expected) < 300 and chosen.valid[image].tolist() == [True] * count + [False] * (slots - count)
        assert torch.equal(chosen.logits[image, :count], dense.logits[image, expected[:count]])
        assert torch.equal(chosen.boxes[image, :count], clipped[expected[:count]])
        assert (chosen.logits[image, count:] == NOTHING).all() and (chosen.boxes[image, count:] == 0).all()


def test_proposals_by_hand():
    """The second box lies on the first by .9, the third by .75, the fourth is equal to it but of another class."""
    boxes = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.36], [0.0, 0.0, 0.4, 0.3], [0.0, 0.0, 0.4, 0.4]]])
    logits = torch.tensor([[[2.0, -9.0], [1.0, -9.0], [0.0, -9.0], [-9.0, 1.5]]])
    chosen = head().select(Predictions(logits, boxes), 5)
    assert chosen.logits.amax(-1)[0].tolist() == [2.0, 1.5, 0.0, NOTHING, NOTHING]
    assert head(nms_threshold=1.0).select(Predictions(logits, boxes), 5).valid.sum() == 4
    assert head(nms_threshold=0.0).select(Predictions(logits, boxes), 5).valid.sum() == 2


def test_no_gradient_goes_through_the_choice():
    dense = some_dense()
    chosen = head().select(Predictions(dense.logits.requires_grad_(), dense.boxes.requires_grad_()), 10)
    assert not chosen.logits.requires_grad and not chosen.boxes.requires_grad


def test_for_a_decoder_without_proposals_nothing_is_suppressed(monkeypatch):
    monkeypatch.setattr("detector.postprocess.batched_nms", None)
    chosen = head().select(some_dense(), 0)
    assert chosen.logits.shape == (2, 0, 2) and chosen.boxes.shape == (2, 0, 4) and chosen.valid.shape == (2, 0)


def test_an_object_between_locations_can_be_drawn():
    """Offset 0.7 of a cell to the right and down, sides of 0.3 cells: a box that does not hold its own location."""
    made = DenseHead(width=8, strides=[8, 16, 32], num_classes=1)
    with torch.no_grad():
        made.box_output.weight.zero_()
        made.box_output.bias.copy_(torch.tensor([0.7, 0.7, math.log(0.3), math.log(0.3)]))
        dense, locations = made([torch.zeros(1, 8, 12 // 2**k, 16 // 2**k) for k in range(3)], (96, 128))
    low, high = (dense.boxes[0] - locations.centres.repeat(1, 2)).div(locations.strides.repeat(1, 2)).split(2, -1)
    torch.testing.assert_close(low, torch.full_like(low, 0.55))
    torch.testing.assert_close(high, torch.full_like(high, 0.85))


@pytest.mark.parametrize("options, sentence", [
    ({"depth": -1}, "proposals.depth is -1; it must be at least 0"),
    ({"prior": 0.0}, "proposals.prior is 0.0; it must lie between 0 and 1, neither included"),
    ({"prior": 1.0}, "proposals.prior is 1.0; it must lie"),
    ({"nms_threshold": 80}, "proposals.nms_threshold is 80; it must lie between 0 and 1"),
    ({"nms_threshold": -0.1}, "proposals.nms_threshold is -0.1; it must lie"),
])
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        head(**options)


def test_no_depth():
    """Two outputs alone: that is allowed."""
    made = head(depth=0)
    dense, _ = made([torch.randn(1, 16, 4, 6), torch.randn(1, 16, 2, 3), torch.randn(1, 16, 1, 2)], (32, 48))
    assert made.select(dense, 5).boxes.shape == (1, 5, 4)
