from dataclasses import replace

import pytest
import torch
from readers import changed_at, outspoken, proposals, pyramid, reader, same_steps, scene
from torchvision.ops import generalized_box_iou_loss

from detector.decoders.gru import GRU
from detector.decoders.list_reader import covered_before, noised
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.transformer import Transformer
from detector.errors import InputError
from detector.losses.set_loss import SetLoss
from detector.losses.varifocal import Varifocal
from detector.matchers.hungarian import Hungarian
from detector.types import Predictions, Target


def test_it_starts_at_the_quality_of_the_proposals():
    given = proposals()
    for written in reader()(scene(given)):
        torch.testing.assert_close(written.boxes, given.boxes, atol=0.01, rtol=0)
        torch.testing.assert_close(written.logits, given.logits, atol=0.05, rtol=0)


@pytest.mark.parametrize("kind, options, known", [
    (LSTM, {}, "before"), (GRU, {}, "before"), (MLP, {}, "none"), (Transformer, {"heads": 2}, "all"),
    (LSTM, {"bidirectional": True}, "all"), (LSTM, {"layers": 2}, "before"),
], ids=["lstm", "gru", "mlp", "transformer", "bidirectional", "two-layers"])
def test_which_steps_a_step_knows(kind, options, known):
    decoder = outspoken(reader(kind, passes=1, **options))
    with torch.no_grad():  # scores as they are, so that what changes is what is remembered
        same = same_steps(decoder, *changed_at(4))
    expected = {"before": [True] * 4 + [False] * 6, "none": [True] * 4 + [False] + [True] * 5, "all": [False] * 10}
    assert same == expected[known]


def test_a_sequence_cut_short_equals_the_start_of_the_full_one():
    decoder, given = reader(passes=1).eval(), proposals()
    with torch.no_grad():
        (full,) = decoder(scene(given))
        (short,) = decoder(scene(Predictions(given.logits[:, :6], given.boxes[:, :6])))
    torch.testing.assert_close(full.logits[:, :6], short.logits)
    torch.testing.assert_close(full.boxes[:, :6], short.boxes)


@pytest.mark.parametrize("passes, layers, dropout", [(1, 1, 0.0), (3, 2, 0.3)])
def test_options(passes, layers, dropout):
    written = reader(passes=passes, layers=layers, dropout=dropout)(scene())
    assert len(written) == passes
    assert all(((w.boxes >= -1e-3) & (w.boxes <= 1.001)).all() for w in written)


def test_no_gradient_reaches_the_proposals():
    given = proposals()
    given.logits.requires_grad_(), given.boxes.requires_grad_()
    maps = [m.requires_grad_() for m in pyramid()]
    written = reader()(scene(given, maps))[-1]
    (written.logits.sum() + written.boxes.sum()).backward()
    assert given.logits.grad is None and given.boxes.grad is None and all(m.grad is not None for m in maps)


@pytest.mark.parametrize("kind, options", [(MLP, {}), (Transformer, {"heads": 8})], ids=["mlp", "transformer"])
@pytest.mark.parametrize("layers", [1, 2])
def test_rivals_have_as_many_parameters(kind, options, layers):
    def count(decoder):
        return sum(p.numel() for p in decoder.parameters())

    ours = reader(hidden_size=128, layers=layers)
    theirs = reader(kind, hidden_size=128, layers=layers, **options)
    assert count(theirs) == pytest.approx(count(ours), rel=0.01)
    assert count(theirs.passes[0].memory) == pytest.approx(count(ours.passes[0].memory), rel=0.01)


def test_orders():
    given = proposals()
    def first_boxes(order):
        return reader(order=order, passes=1)(scene(given))[-1].boxes

    middles = first_boxes("left_to_right")[..., [0, 2]].sum(-1)
    assert (middles.diff(dim=1) > -0.01).all()
    assert torch.equal(first_boxes("random"), first_boxes("random"))
    by_score = first_boxes("score")
    for order in ("left_to_right", "random"):
        other = first_boxes(order)
        assert not torch.allclose(other, by_score, atol=0.05)
        torch.testing.assert_close(other.sort(1).values, by_score.sort(1).values, atol=0.01, rtol=0)
    with pytest.raises(InputError, match="order is 'size'; there are score, left_to_right, random"):
        reader(order="size")


@pytest.mark.parametrize("feedback", [True, False])
def test_permuting_proposals_before_they_are_ordered_changes_nothing(feedback):
    given, mixed = proposals(), torch.randperm(10, generator=torch.Generator().manual_seed(1)).expand(2, -1)
    decoder = outspoken(reader(order="left_to_right", feedback=feedback))
    with torch.no_grad():
        one, other = decoder(scene(given))[-1], decoder(scene(given.gather(mixed)))[-1]
        read_as_given = outspoken(reader(order="score", feedback=False))
        unlike = read_as_given(scene(given))[-1], read_as_given(scene(given.gather(mixed)))[-1]
    torch.testing.assert_close(one.boxes, other.boxes)
    torch.testing.assert_close(one.logits, other.logits)
    assert not torch.allclose(unlike[0].logits.gather(1, mixed[..., None].expand(-1, -1, 3)), unlike[1].logits, atol=0.01)


def test_what_earlier_proposals_cover_by_hand():
    boxes = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.16], [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.4]]])
    logits = torch.tensor([[[1.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.3, 0.0]]])
    first = torch.tensor(1.0).sigmoid().item()
    expected = torch.tensor([[
        [0.0, 0.0, 0.0, 0.0], [0.4, 0.4 * first, 0.0, 0.25], [0.0, 0.0, 0.0, 0.5], [1.0, first, 0.6931472, 0.75]  # ln 2
    ]])
    torch.testing.assert_close(covered_before(Predictions(logits, boxes)), expected)


def test_several_boxes_for_a_proposal():
    written = reader(writes=3)(scene())
    assert [w.boxes.shape[1] for w in written] == [30, 30]
    given = proposals()
    torch.testing.assert_close(written[0].boxes[:, 0::3], given.boxes, atol=0.01, rtol=0)
    assert (written[0].logits[:, 1::3] < given.logits - 2).all()  # the further ones start nearly silent


def targets() -> list[Target]:
    boxes = torch.tensor([[0.1, 0.1, 0.3, 0.4], [0.5, 0.5, 0.9, 0.8], [0.4, 0.1, 0.6, 0.3]])
    return [Target(boxes, torch.tensor([0, 1, 2]), 0, (9, 9)), Target(boxes[:1], torch.tensor([1]), 1, (9, 9))]


def test_noised_objects():
    torch.manual_seed(0)
    given = noised(targets(), 40, num_classes=3)
    assert given.boxes.shape == (2, 120, 4) and ((given.boxes >= 0) & (given.boxes <= 1)).all()
    labels = given.logits.argmax(-1)[0]
    centres = (given.boxes[0, :, :2] + given.boxes[0, :, 2:]) / 2
    truth = torch.tensor([[0.2, 0.25], [0.7, 0.65], [0.5, 0.2]])
    nearest = torch.cdist(centres, truth).argmin(1)
    assert nearest.bincount().tolist() == [40, 40, 40]
    assert 0.75 < (labels == nearest).float().mean() < 0.95  # a fifth is given a label at random, a third of those its own
    assert len(nearest[:12].unique()) == 3  # shuffled


def test_further_lists_are_read_in_training_alone():
    decoder = reader(denoising=2, groups=3)
    torch.manual_seed(1)
    passes = decoder(scene(), targets())
    assert [one.boxes.shape[1] for one in passes] == [6, 6, 10, 10, 10, 10, 10, 10]
    assert len(decoder(scene())) == 2 and len(decoder.eval()(scene(), targets())) == 2
    nothing = [Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, (9, 9))] * 2
    assert len(decoder.train()(scene(), nothing)) == 6


@pytest.mark.parametrize("options", [{}, {"groups": 3}, {"denoising": 2}, {"groups": 2, "denoising": 2}])
def test_the_set_loss_weighs_as_much_however_many_lists_are_given(options):
    """Against the dense loss, that is: all lists being equal, the terms are those of one."""
    decoder = reader(**options)
    stages = decoder(scene(), targets())
    same = [replace(stages[-1], weight=stage.weight) for stage in stages]
    loss = SetLoss(
        matcher=Hungarian(class_cost=2, l1_cost=5, giou_cost=2), class_loss=Varifocal(), class_weight=1.0, l1_weight=5.0,
        overlap_weight=2.0, overlap_loss=generalized_box_iou_loss,
    )
    one = loss([replace(stages[-1], weight=1.0)] * 2, targets())
    for name, term in loss(same, targets()).items():
        assert term.item() == pytest.approx(one[name].item())
