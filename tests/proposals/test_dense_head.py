import math

import pytest
import torch

from detector.errors import InputError
from detector.proposals.dense_head import DenseHead
from detector.types import Locations, Predictions


def head(**options) -> DenseHead:
    torch.manual_seed(0)
    return DenseHead(width=16, strides=[8, 16, 32], num_classes=2, **options)


def locations_of(shapes) -> Locations:
    count = sum(rows * columns for rows, columns in shapes)
    return Locations(torch.zeros(count, 2), torch.ones(count, 2), shapes)


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


def test_local_maxima_come_first_best_first():
    scores = torch.full((1, 25, 2), -5.0)
    scores[0, 12, 0] = 3.0  # a peak in the middle of 5 × 5
    scores[0, 13, 0] = 2.9  # its neighbour, no peak
    scores[0, 14, 1] = 1.0  # a peak of the other class
    scores[0, 0, 0] = 2.0  # a peak in the corner
    dense = Predictions(scores, torch.rand(1, 25, 4))
    chosen = head().select(dense, locations_of([(5, 5)]), 3)
    assert chosen.logits.amax(-1)[0].tolist() == [3.0, 2.0, 1.0]
    everything = head(peak_window=1).select(dense, locations_of([(5, 5)]), 3)
    assert [round(v, 3) for v in everything.logits.amax(-1)[0].tolist()] == [3.0, 2.9, 2.0]


def test_other_locations_compete_with_a_share_of_their_score():
    """The neighbour of the peak of .95 has .948: half of it is less than the peak of .73, more than that of .12."""
    scores = torch.full((1, 25, 2), -9.0)
    scores[0, 12, 0], scores[0, 13, 0], scores[0, 14, 1], scores[0, 0, 0] = 3.0, 2.9, 1.0, -2.0
    dense = Predictions(scores, torch.rand(1, 25, 4))
    first = {
        share: head(off_peak=share).select(dense, locations_of([(5, 5)]), 4).logits[0].amax(1)
        for share in (0.0, 0.5, 1.0)
    }
    assert first[0.0].tolist()[:3] == [3.0, 1.0, -2.0]
    torch.testing.assert_close(first[0.5], torch.tensor([3.0, 1.0, 2.9, -2.0]))
    torch.testing.assert_close(first[1.0], torch.tensor([3.0, 2.9, 1.0, -2.0]))
    with pytest.raises(InputError, match="off_peak is 2; it must lie between 0 and 1"):
        head(off_peak=2)


def test_there_are_always_as_many_as_asked_for():
    scores = torch.zeros(2, 25, 1)
    scores[:, 12] = 4.0
    chosen = head().select(Predictions(scores, torch.rand(2, 25, 4) * 3 - 1), locations_of([(5, 5)]), 20)
    assert chosen.logits.shape == (2, 20, 1) and (chosen.logits[:, 0] == 4).all()
    assert ((chosen.boxes >= 0) & (chosen.boxes <= 1)).all()
    assert head().select(Predictions(scores, torch.rand(2, 25, 4)), locations_of([(5, 5)]), 99).logits.shape[1] == 25


def test_an_object_is_proposed_on_its_best_level_only():
    fine, coarse = torch.full((1, 16, 2), -5.0), torch.full((1, 4, 2), -5.0)
    fine[0, 5, 0] = 2.0  # row 1, column 1 of 4 × 4: under the first coarse cell
    coarse[0, 0, 0] = 3.0
    coarse[0, 0, 1] = 1.0  # another class at the same place
    fine[0, 15, 0], coarse[0, 3, 0] = 2.5, 1.5
    dense = Predictions(torch.cat([fine, coarse], 1), torch.rand(1, 20, 4))
    locations = locations_of([(4, 4), (2, 2)])
    alone = head(peak_levels=True).select(dense, locations, 3).logits[0, :, 0]
    assert alone[:2].tolist() == [3.0, 2.5] and alone[2] < 0
    assert head().select(dense, locations, 3).logits[0, :, 0].tolist() == [3.0, 2.5, 2.0]


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
    ({"peak_window": 2}, "proposals.peak_window is 2; it must be odd"),
    ({"peak_window": 0}, "proposals.peak_window is 0; it must be odd"),
    ({"peak_window": -1}, "proposals.peak_window is -1; it must be odd"),
    ({"depth": -1}, "proposals.depth is -1; it must be at least 0"),
    ({"prior": 0.0}, "proposals.prior is 0.0; it must lie between 0 and 1, neither included"),
    ({"prior": 1.0}, "proposals.prior is 1.0; it must lie"),
])
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        head(**options)


def test_no_depth_and_a_wide_window():
    """Two outputs alone, and a window wider than the map: both are allowed."""
    made = head(depth=0, peak_window=7)
    dense, locations = made([torch.randn(1, 16, 4, 6), torch.randn(1, 16, 2, 3), torch.randn(1, 16, 1, 2)], (32, 48))
    assert made.select(dense, locations, 5).boxes.shape == (1, 5, 4)
