"""FCOS in the place of the dense head is torchvision's FCOS."""

import math

import pytest
import torch
from running import refused
from scenes import OFFLINE, run_config
from torchvision_fcos import CANVAS, our_fcos, some_maps, torchvision_fcos

from detector.build import build_datamodule, build_task
from detector.data.dataset import DetectionDataset
from detector.errors import InputError
from detector.proposals.fcos import FCOS
from detector.types import Predictions


def saying(class_logit: float, centreness: float) -> FCOS:
    """One that says the same of every location, and draws boxes of 1, 2, 3 and 4 cells to left, top, right, bottom."""
    made = FCOS(width=32, strides=[8, 16, 32], num_classes=2, depth=0)
    head = made.head
    for output, values in (
        (head.classification_head.cls_logits, [class_logit, -50.0]),
        (head.regression_head.bbox_reg, [1.0, 2.0, 3.0, 4.0]), (head.regression_head.bbox_ctrness, [centreness]),
    ):
        torch.nn.init.zeros_(output.weight)
        output.bias.data.copy_(torch.tensor(values))
    return made


def test_a_box_and_its_score_by_hand():
    """Of the first location, at (4, 4) with cells of 8 pixels, and of the last, at (48, 16) with cells of 32."""
    maps = [torch.zeros(1, 32, 4, 6), torch.zeros(1, 32, 2, 3), torch.zeros(1, 32, 1, 2)]
    dense, locations = saying(0.0, math.log(3))(maps, (32, 48))
    pixels = dense.boxes[0] * torch.tensor([48, 32, 48, 32])
    assert locations.shapes == [(4, 6), (2, 3), (1, 2)] and dense.boxes.shape == (1, 24 + 6 + 2, 4)
    torch.testing.assert_close(pixels[0], torch.tensor([4.0 - 8, 4 - 16, 4 + 24, 4 + 32]))
    torch.testing.assert_close(pixels[-1], torch.tensor([48.0 - 32, 16 - 64, 48 + 96, 16 + 128]))
    scores = dense.logits.sigmoid()
    torch.testing.assert_close(scores[..., 0], torch.full((1, 32), math.sqrt(0.5 * 0.75)))
    assert (scores[..., 1] < 1e-10).all()


@pytest.mark.parametrize("class_logit, centreness", [(200.0, 200.0), (-200.0, -200.0), (200.0, -200.0), (0.0, 200.0)])
def test_scores_at_the_ends_of_the_scale(class_logit, centreness):
    dense, _ = saying(class_logit, centreness)(some_maps(1), CANVAS)
    expected = math.sqrt(1 / (1 + math.exp(-class_logit)) / (1 + math.exp(-centreness)))
    assert dense.logits.isfinite().all() and dense.logits.half().isfinite().all()  # as they are cached
    torch.testing.assert_close(dense.logits[..., 0].sigmoid(), torch.full((1, 252), expected), rtol=1e-6, atol=1e-40)


def test_boxes_and_scores_are_those_of_torchvision():
    ours, maps = our_fcos(depth=2).eval(), some_maps()
    dense, _ = ours(maps, CANVAS)
    with torch.no_grad():
        theirs = torchvision_fcos(ours, maps).eval()([torch.zeros(3, *CANVAS)] * 2)
    for boxes, logits, found in zip(dense.boxes, dense.logits, theirs, strict=True):
        pixels = boxes.clamp(0, 1) * torch.tensor([CANVAS[1], CANVAS[0]] * 2)
        assert len(found["boxes"]) == 3 * len(pixels) == 3 * 252
        for label in range(3):
            mine = found["labels"] == label
            location = torch.cdist(found["boxes"][mine], pixels).argmin(1)
            assert sorted(location.tolist()) == list(range(252))
            torch.testing.assert_close(found["boxes"][mine], pixels[location], rtol=0, atol=1e-4)
            torch.testing.assert_close(found["scores"][mine], logits[location, label].sigmoid())
        assert found["scores"].max() > 0.8 and found["scores"].min() < 0.2


def test_finer_levels_are_left_to_the_decoder():
    maps, ours = some_maps(), our_fcos()
    coarse = FCOS(width=32, strides=[8, 16, 32], num_classes=3, finest_stride=16)
    coarse.load_state_dict(ours.state_dict())
    (all_of_it, _), (dense, locations) = ours(maps, CANVAS), coarse(maps, CANVAS)
    assert locations.shapes == [(6, 8), (3, 4)]
    torch.testing.assert_close(dense.boxes, all_of_it.boxes[:, 192:])
    torch.testing.assert_close(dense.logits, all_of_it.logits[:, 192:])


def test_decoders_are_given_plain_predictions():
    dense, _ = our_fcos()(some_maps(), CANVAS)
    for plain in (dense.detach(), dense.gather(torch.zeros(2, 1, dtype=torch.int64))):
        assert type(plain) is Predictions
    assert not dense.detach().logits.requires_grad and our_fcos().select(dense, 5).valid.all()


@pytest.mark.parametrize("options, sentence", [
    ({"width": 48}, "neck.width is 48; for proposals=fcos it must be a multiple of 32"),
    ({"depth": -1}, "proposals.depth is -1; it must be at least 0"),
    ({"nms_threshold": 80}, "proposals.nms_threshold is 80; it must lie between 0 and 1"),
    ({"finest_stride": 4}, r"proposals.finest_stride is 4; the pyramid has strides \[8, 16, 32\]"),
])
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        FCOS(**{"width": 32, "strides": [8, 16, 32], "num_classes": 2, **options})


def test_its_loss_trains_the_backbone_in_any_precision(tmp_path):
    """The canvas is not square; no decoder has gradients to give."""
    small = ["proposals=fcos", "decoder=dense", "neck.width=32", "data.dataset.splits={train: 4, val: 2, test: 2}"]
    config = run_config(tmp_path, *small, *OFFLINE)
    torch.manual_seed(0)
    data = build_datamodule(config)
    task = build_task(config, data.class_names).train()
    batch, _ = DetectionDataset.collate([data.train[0, index] for index in range(4)])
    terms = task.losses(batch)
    assert terms.keys() == {"dense_class", "dense_giou", "dense_centreness"}
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in task.detector.backbone.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = task.losses(batch)
    assert all(mixed[name].dtype == torch.float32 for name in terms)
    assert all(mixed[name].item() == pytest.approx(term.item(), rel=0.05) for name, term in terms.items())


def test_the_dense_loss_that_fcos_replaces_is_refused(tmp_path, capsys):
    options = ["proposals=fcos", "loss.dense.box_weight=equal", f"hydra.run.dir={tmp_path}"]
    assert "loss.dense.box_weight=equal does nothing: these proposals bring" in refused(capsys, "train", *options)
