"""Decoders that do not take the proposals as they come: `lstm_pointer`, `lstm_attention`; and `lstm_grid`."""

import math

import pytest
import torch
from small_decoders import CANVAS, listed, mixed, proposals, pyramid, scene

from detector.decoders.lstm_attention import LSTMAttention
from detector.decoders.lstm_grid import LSTMGrid, stitch
from detector.decoders.lstm_pointer import LSTMPointer
from detector.decoders.pointing import point
from detector.errors import InputError
from detector.matchers.fixed_order import FixedOrder
from detector.matchers.hungarian import Hungarian
from detector.proposals.dense_head import DenseHead
from detector.types import Locations, Scene, Target

SHARED = {"width": 8, "strides": [8, 16, 32], "num_classes": 3, "hidden_size": 16, "dropout": 0.0}


def pointer(**options) -> LSTMPointer:
    torch.manual_seed(0)
    options = {"slots": 8, "candidates": 10, "points": 2, "sampling_rate": 0.0, "extra_steps": 2, "end_above": 0.5,
               "pointer_weight": 1.0, "matcher": Hungarian(class_cost=2, l1_cost=5, giou_cost=2), **options}
    return LSTMPointer(**SHARED, **options)


def attention(**options) -> LSTMAttention:
    torch.manual_seed(0)
    options = {"slots": 8, "sampling_rate": 0.0, "extra_steps": 2, "stop_above": 0.5, "pointer_weight": 1.0, **options}
    return LSTMAttention(**SHARED, **options)


def grid(**options) -> LSTMGrid:
    torch.manual_seed(0)
    options = {
        "boxes_per_cell": 5, "cells": "stitch", "stitch_above": 0.5, "cell_stride": 32, "cell_points": 3, "points": 2,
        **options,
    }
    return LSTMGrid(**SHARED, **options)


def dense_scene() -> Scene:
    torch.manual_seed(0)
    head = DenseHead(width=8, strides=[8, 16, 32], num_classes=3)
    maps = pyramid()
    dense, locations = head(maps, CANVAS)
    return Scene(maps, dense.detach(), locations, head.select(dense, 10), CANVAS)


def targets() -> list[Target]:
    boxes = torch.tensor([[0.1, 0.1, 0.3, 0.4], [0.5, 0.5, 0.9, 0.8], [0.4, 0.1, 0.6, 0.3]])
    return [Target(boxes, torch.tensor([0, 1, 2]), 0, (9, 9)), Target(boxes[:1], torch.tensor([1]), 1, (9, 9))]


def test_pointing():
    logits = torch.tensor([[0.1, 0.9, 0.5], [0.1, -torch.inf, 0.5], [0.3, 0.2, 0.1]])
    assert point(logits).tolist() == [1, 2, 0]
    correct = torch.tensor([[True, False, True], [True, False, False], [False, False, False]])
    assert point(logits, correct).tolist() == [2, 0, 0]
    assert point(logits, correct, sampling_rate=1.0).tolist() == [1, 2, 0]


def test_the_pointer_takes_no_proposal_twice_and_stops():
    decoder = pointer(end_above=2.0).eval()  # never sure enough to stop
    given = proposals()
    with torch.no_grad():
        intermediate, last = decoder(scene(given))
    assert intermediate.one_to_many and intermediate.boxes.shape == (2, 10, 4)
    assert last.boxes.shape == (2, 8, 4) and last.valid.all()
    for image in range(2):
        nearest = torch.cdist(last.boxes[image], given.boxes[image]).argmin(1)
        assert len(nearest.unique()) == 8
    decoder.end_above = 0.0
    intermediate, last = decoder(scene(given))
    assert intermediate.boxes.shape == (2, 10, 4) and last.boxes.shape == (2, 0, 4)


def test_permuting_what_can_be_pointed_at_changes_nothing():
    decoder, given = pointer(end_above=2.0).eval(), proposals()
    again = mixed(given)
    with torch.no_grad():
        one, other = decoder(scene(given))[-1], decoder(scene(listed(again.logits, again.boxes)))[-1]
    torch.testing.assert_close(one.boxes, other.boxes)
    torch.testing.assert_close(one.logits, other.logits)


def test_the_pointer_takes_what_is_valid():
    """Of the two images the first has three valid proposals: it ends after them, whatever the end's probability."""
    decoder, given = pointer(end_above=2.0).eval(), proposals()
    few = listed(given.logits[:, :3], given.boxes[:, :3], invalid=7)
    both = listed(given.logits, given.boxes)
    both.logits[0], both.boxes[0], both.valid = few.logits[0], few.boxes[0], torch.stack([few.valid[0], both.valid[1]])
    with torch.no_grad():
        _, alone = decoder(scene(listed(few.logits[:, :3], few.boxes[:, :3])))
        intermediate, last = decoder(scene(both))
    assert intermediate.valid is both.valid and last.valid.sum(1).tolist() == [3, 8]
    taken = torch.cdist(last.boxes[0, :3], few.boxes[0, :3]).argmin(1)
    assert sorted(taken.tolist()) == [0, 1, 2] and (last.boxes[0, :3] - few.boxes[0, taken]).abs().max() < 0.01
    torch.testing.assert_close(last.logits[0, :3], alone.logits[0])  # as of a list without the others


def test_the_pointer_learns_from_what_is_valid():
    """With more objects than valid proposals, all those at the top left, where empty boxes are."""
    given = proposals(slots=2, invalid=8)
    boxes = torch.tensor([[0.0, 0.0, 0.1, 0.1]]).repeat(5, 1)
    objects = [Target(boxes, torch.zeros(5, dtype=torch.int64), number, (9, 9)) for number in range(2)]
    decoder = pointer(slots=10)
    intermediate, last = decoder(scene(given), objects)
    (of_first, of_second) = decoder.matcher(intermediate, objects)
    assert sorted(of_first.slots.tolist()) == sorted(of_second.slots.tolist()) == [0, 1]
    assert last.boxes.shape[1] == 5 + 1 + 2 and last.losses["pointer"].isfinite() and last.losses["pointer"] > 0
    (last.losses["pointer"] + last.logits.sum() + last.boxes.sum()).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in decoder.parameters())


def test_the_pointer_is_as_sure_of_a_box_as_that_it_is_not_at_the_end():
    """Twice the odds of the end are twice the odds by which scores fall."""
    decoder, odds = pointer(end_above=2.0).eval(), []
    with torch.no_grad():
        decoder.end.weight.zero_()
        decoder.end.bias.fill_(-50.0)  # surely not at the end
        sure = decoder(scene())[-1].logits.sigmoid()
        for bias in (0.0, math.log(2)):
            decoder.end.bias.fill_(bias)
            kept = decoder(scene())[-1].logits.sigmoid() / sure
            torch.testing.assert_close(kept, kept[..., :1].expand_as(kept))  # all classes alike
            odds.append(1 / kept - 1)
    torch.testing.assert_close(odds[1], 2 * odds[0], rtol=1e-3, atol=1e-4)


def test_the_pointer_learns_to_take_what_shows_objects():
    """A picture with three objects takes four steps: after some steps of training on two images."""
    decoder = pointer(sampling_rate=0.2, slots=10)
    given = proposals()
    look = scene(given)
    chosen = [given.boxes[0, [2, 5, 7]], given.boxes[1, [4]]]
    objects = [Target(boxes, torch.zeros(len(boxes), dtype=torch.int64), i, (9, 9)) for i, boxes in enumerate(chosen)]
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(80):
        _, last = decoder(look, objects)
        optimizer.zero_grad()
        last.losses["pointer"].backward()
        optimizer.step()
    _, last = decoder.eval()(look)
    assert last.valid.sum(1).tolist() == [3, 1]
    taken = [torch.cdist(last.boxes[i][last.valid[i]], given.boxes[i]).argmin(1).tolist() for i in range(2)]
    assert sorted(taken[0]) == [2, 5, 7] and taken[1] == [4]


def test_with_teacher_forcing_they_take_the_steps_that_are_needed():
    for decoder in (pointer(slots=10), attention(slots=10)):
        last = decoder(dense_scene(), targets())[-1]
        assert last.boxes.shape[1] == 3 + 1 + 2 and last.losses["pointer"] > 0
        nothing = [Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, (9, 9))] * 2
        assert decoder(dense_scene(), nothing)[-1].boxes.shape[1] == 3


def test_with_teacher_forcing_attention_looks_at_every_object():
    decoder = attention(slots=10)
    with torch.no_grad():  # boxes are predicted around the place that was looked at
        (predicted,) = decoder(dense_scene(), targets())
    centres = (predicted.boxes[0, :3, :2] + predicted.boxes[0, :3, 2:]) / 2
    boxes = targets()[0].boxes
    inside = ((centres[:, None] > boxes[:, :2]) & (centres[:, None] < boxes[:, 2:])).all(-1)
    assert inside.sum(0).tolist() == [1, 1, 1]


def test_attention_does_not_return_to_what_it_covered():
    decoder = attention(stop_above=2.0).eval()
    look = dense_scene()
    with torch.no_grad():
        decoder.weights.copy_(torch.tensor([1.0, 1e4]))  # so strong that nothing else decides
        (predicted,) = decoder(look)
    centres = (predicted.boxes[:, :, :2] + predicted.boxes[:, :, 2:]) / 2
    assert torch.cdist(centres[0], centres[0]).fill_diagonal_(1).min() > 0.05


def test_attention_starts_from_the_dense_scores():
    decoder, look = attention(slots=1, stop_above=2.0).eval(), dense_scene()
    look.dense.logits[:, 37] = 9.0
    (predicted,) = decoder(look)
    centre = (predicted.boxes[:, 0, :2] + predicted.boxes[:, 0, 2:]) / 2
    torch.testing.assert_close(centre, look.locations.centres[37].expand(2, 2), atol=0.02, rtol=0)


@pytest.mark.parametrize(("cell_stride", "cells"), [(32, 3 * 4), (16, 6 * 8)])
def test_the_grid_covers_the_canvas(cell_stride, cells):
    first, last = grid(cell_stride=cell_stride)(dense_scene())
    assert first.boxes.shape == (2, cells * 5, 4)
    regions = last.regions.view(cells, 5, 4)
    assert (regions == regions[:, :1]).all()
    points = torch.rand(200, 2)
    inside = ((points[:, None] >= regions[:, 0, :2]) & (points[:, None] < regions[:, 0, 2:])).all(-1)
    assert (inside.sum(1) == 1).all()
    centres = (first.boxes[..., :2] + first.boxes[..., 2:]) / 2
    assert ((centres >= regions[:, :, :2].flatten(0, 1)) & (centres <= regions[:, :, 2:].flatten(0, 1))).all()


@pytest.mark.parametrize("canvas", [(240, 320), (96, 128), (300, 500)])
def test_an_object_centred_on_a_border_belongs_to_one_cell(canvas):
    height, width = canvas
    maps = [torch.randn(1, 8, -(-height // s), -(-width // s)) for s in SHARED["strides"]]
    given = proposals(batch=1)
    look = Scene(maps, given, Locations(torch.zeros(0, 2), torch.zeros(0, 2), []), given, canvas)
    last = grid()(look)[-1]
    across, down = torch.arange(0, width + 1, 32), torch.arange(0, height + 1, 32)
    centres = torch.cartesian_prod(across / width, down / height)
    objects = Target(torch.cat([centres, centres], 1), torch.zeros(len(centres), dtype=torch.int64), 0, canvas)
    (assignment,) = FixedOrder()(last, [objects])
    assert sorted(assignment.objects.tolist()) == list(range(len(centres)))


def test_the_grid_s_options():
    assert grid(cells="global")(dense_scene())[-1].regions is None
    with pytest.raises(InputError, match="cells is 'none'; there are stitch, global"):
        grid(cells="none")
    with pytest.raises(InputError, match="cell_stride is 4; the pyramid has strides 8, 16, 32"):
        grid(cell_stride=4)


def test_stitching_by_hand():
    """Two cells of two boxes. The second cell's first box is the first cell's first, seen better; its second overlaps
    the first cell's second too little. A third object of another class lies right on one of them and stays."""
    boxes = torch.tensor([
        [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9], [0.1, 0.1, 0.5, 0.52], [0.7, 0.7, 1.0, 1.0], [0.1, 0.1, 0.5, 0.5],
        [0.0, 0.0, 0.1, 0.1],
    ])
    logits = torch.tensor([[1.0, -5], [2.0, -5], [3.0, -5], [1.0, -5], [-5, 1.0], [-9, -9]])
    assert stitch(logits, boxes, 2, 0.5).tolist() == [False, True, True, True, True, True]


def test_stitching_lets_a_neighbour_remove_one_box_at_most():
    """Two boxes that one cell predicted for two close objects, and a neighbour's for one of them."""
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.52, 0.5], [0.1, 0.12, 0.5, 0.52], [0.9, 0.9, 1.0, 1.0]])
    logits = torch.tensor([[3.0], [2.0], [1.0], [-9.0]])
    assert stitch(logits, boxes, 2, 0.5).tolist() == [True, True, False, True]


def test_nothing_to_stitch():
    assert stitch(torch.zeros(0, 1), torch.zeros(0, 4), 5, 0.5).tolist() == []
