"""The loss of FCOS is torchvision's."""

import math

import pytest
import torch
from torchvision_fcos import CANVAS, our_fcos, some_maps, torchvision_fcos

from detector.errors import InputError
from detector.losses.fcos_loss import FCOSLoss
from detector.types import FCOSPredictions, Locations, Target


def some_targets(objects: tuple[int, ...]) -> list[Target]:
    generator = torch.Generator().manual_seed(1)
    targets = []
    for number, count in enumerate(objects):
        low = torch.rand(count, 2, generator=generator) * 0.5
        boxes = torch.cat([low, low + 0.1 + 0.4 * torch.rand(count, 2, generator=generator)], 1)
        targets.append(Target(boxes, torch.arange(count) % 3, number, CANVAS))
    return targets


@pytest.mark.parametrize("objects", [(4, 9), (5, 0), (0, 0)])
@pytest.mark.parametrize("radius", [1.5, 0.6])
def test_it_is_that_of_torchvision(objects, radius):
    ours, maps, targets = our_fcos(depth=2), some_maps(), some_targets(objects)
    terms = FCOSLoss(centre_radius=radius)(*ours(maps, CANVAS), targets)
    mine = torch.autograd.grad(sum(terms.values()), list(ours.parameters()))
    whole, pixels = torchvision_fcos(ours, maps), torch.tensor([CANVAS[1], CANVAS[0]] * 2)
    whole.center_sampling_radius = radius
    objects_in_pixels = [{"boxes": target.boxes * pixels, "labels": target.labels} for target in targets]
    expected = whole.train()([torch.zeros(3, *CANVAS)] * 2, objects_in_pixels)
    for name, theirs in (
        ("dense_class", "classification"), ("dense_giou", "bbox_regression"), ("dense_centreness", "bbox_ctrness")
    ):
        torch.testing.assert_close(terms[name], expected[theirs])
        assert (terms[name] > 0) == (name == "dense_class" or any(objects))
    for one, other in zip(mine, torch.autograd.grad(sum(expected.values()), list(ours.parameters())), strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_by_hand():
    """One of 4 × 8 locations lies in the object: 2, 6, 6 and 2 pixels from its left, top, right and bottom edge."""
    x, y = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(4) + 0.5, indexing="xy")
    side = torch.tensor([8 / 64, 8 / 32])
    locations = Locations(torch.stack([x, y], -1).flatten(0, 1) * side, side.expand(32, 2), [(4, 8)])
    outputs = {
        "cls_logits": torch.zeros(1, 32, 1), "bbox_regression": torch.ones(1, 32, 4),
        "bbox_ctrness": torch.full((1, 32, 1), math.log(3)),
    }
    dense = FCOSPredictions(torch.zeros(1, 32, 1), torch.zeros(1, 32, 4), outputs, (32, 64))
    box = torch.tensor([[18.0, 6, 26, 14]]) / torch.tensor([64, 32, 64, 32])  # the location is at (20, 12)
    terms = FCOSLoss()(dense, locations, [Target(box, torch.tensor([0]), 0, (32, 64))])
    assert terms["dense_class"].item() == pytest.approx((0.25 + 31 * 0.75) * 0.25 * math.log(2))
    assert terms["dense_giou"].item() == pytest.approx(1 - 8 * 8 / 16**2)  # a cell to each side: it holds the object
    expected = -(1 / 3 * math.log(0.75) + 2 / 3 * math.log(0.25))  # the target is √(2/6 · 2/6)
    assert terms["dense_centreness"].item() == pytest.approx(expected)


def test_a_radius_that_holds_nothing():
    with pytest.raises(InputError, match="loss.proposals.centre_radius is 0; it must be above 0"):
        FCOSLoss(centre_radius=0)
