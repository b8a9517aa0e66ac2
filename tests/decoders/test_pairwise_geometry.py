"""The bias of attention from how boxes lie to one another."""

import math

import pytest
import torch
from small_decoders import listed, proposals, randomised, scene, sequence_decoder

from detector.decoders.pairwise_geometry import PairwiseGeometry
from detector.decoders.sequence_decoder import iou_with_earlier
from detector.decoders.transformer import Transformer

BOXES = torch.tensor([[[0.0, 0.0, 0.4, 0.2], [0.2, 0.0, 0.4, 0.2], [0.9, 0.9, 1.0, 1.0]]])
LOGITS = torch.tensor([[[2.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.0]]])


def numbers_of(boxes, logits):
    """What the layers are given, and the bias."""
    geometry, given = PairwiseGeometry(heads=2), []
    geometry.layers.register_forward_hook(lambda layer, numbers, made: given.append(numbers[0]))
    return geometry(boxes, iou_with_earlier(listed(logits, boxes))), given[0]


def test_the_numbers_by_hand():
    bias, numbers = numbers_of(BOXES, LOGITS)
    assert bias.shape == (1, 2, 3, 3)
    assert numbers[0, 0, 1].tolist() == pytest.approx([0.25, 0, -math.log(2), 0, 0.5, 0])  # later, half as wide
    assert numbers[0, 1, 0].tolist() == pytest.approx([-0.5, 0, math.log(2), 0, 0.5, 1])
    far = [-(0.95 - 0.2) / 0.1, -(0.95 - 0.1) / 0.1, math.log(4), math.log(2), 0, 1]
    assert numbers[0, 2, 0].tolist() == pytest.approx([max(-4, min(4, one)) for one in far], abs=1e-6)
    assert numbers[0, 2, 2].tolist() == pytest.approx([0] * 6)


def test_moved_and_scaled_boxes_lie_as_before():
    bias, numbers = numbers_of(BOXES, LOGITS)
    _, moved = numbers_of(BOXES * 0.5 + 0.3, LOGITS)
    torch.testing.assert_close(moved, numbers, atol=1e-5, rtol=1e-5)


def test_a_slot_depends_on_where_the_others_lie_by_the_geometry():
    """Without it attention is by content alone, which is held fixed here."""
    given, after, content = proposals(), proposals(), torch.randn(2, 10, 16)
    after.boxes[:, 4] = after.boxes[:, 0]
    for geometry in (False, True):
        decoder = randomised(sequence_decoder(Transformer, heads=2, geometry=geometry))
        decoder.region_features.forward = lambda seen, some: content
        with torch.no_grad():
            (one,), (other,) = decoder(scene(given)), decoder(scene(after))
        assert torch.equal(one.logits, other.logits) is not geometry


def test_an_image_without_proposals_gives_numbers():
    given = proposals()
    given.valid = torch.zeros(given.boxes.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        (made,) = randomised(sequence_decoder(Transformer, heads=2, geometry=True))(scene(given))
    assert made.logits.isfinite().all()
