import math

import pytest
import torch
from small_decoders import CANVAS, listed, mixed, proposals, pyramid, randomised, scene, sequence_decoder
from torchvision.ops import generalized_box_iou_loss

from detector.decoders.gru import GRU
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.transformer import Transformer
from detector.losses.set_loss import SetLoss
from detector.losses.varifocal import Varifocal
from detector.matchers.hungarian import Hungarian
from detector.postprocess import detections_of
from detector.proposals.dense_head import DenseHead
from detector.types import Scene, Target

WITHOUT_FEEDBACK = {
    "lstm": (LSTM, {}), "gru": (GRU, {}), "mlp": (MLP, {}), "two-layers": (LSTM, {"layers": 2}),
    "transformer": (Transformer, {"heads": 2, "geometry": False}),
    "transformer-with-geometry": (Transformer, {"heads": 2, "geometry": True}),
}
WITH_FEEDBACK = {
    f"{name}-with-feedback": (kind, {**options, "feedback": True})
    for name, (kind, options) in WITHOUT_FEEDBACK.items() if "transformer" not in name
}
EVERY = {**WITHOUT_FEEDBACK, **WITH_FEEDBACK}


def each(decoders: dict):
    return pytest.mark.parametrize("kind, options", decoders.values(), ids=decoders)


def with_novelty(logit: float):
    """A decoder to which every proposal is as new."""
    decoder = sequence_decoder()
    torch.nn.init.zeros_(decoder.novelty[-1].weight)
    torch.nn.init.constant_(decoder.novelty[-1].bias, logit)
    return decoder


@each(EVERY)
def test_it_starts_at_the_quality_of_the_proposals(kind, options):
    given = proposals()
    given.logits[:] = torch.linspace(2.0, -3.0, 10).view(1, 10, 1) - torch.tensor([0.0, 1.0, 2.0])
    (predicted,) = sequence_decoder(kind, **options)(scene(given))
    assert predicted.boxes is given.boxes and predicted.valid is given.valid
    almost_all_new = 1 / (1 + math.exp(-2)) * given.logits.sigmoid()
    torch.testing.assert_close(predicted.logits.sigmoid(), almost_all_new, atol=0, rtol=0.01)
    assert (predicted.logits.amax(-1).diff(dim=1) < 0).all()


@each(EVERY)
def test_a_score_is_the_proposal_s_times_its_novelty(kind, options):
    decoder, given, novelty = randomised(sequence_decoder(kind, **options)), proposals(), []
    decoder.novelty.register_forward_hook(lambda layer, hidden, made: novelty.append(made))
    (predicted,) = decoder(scene(given))
    torch.testing.assert_close(predicted.logits.sigmoid(), given.logits.sigmoid() * novelty[-1].sigmoid())
    assert (predicted.logits <= given.logits).all() and novelty[-1].std() > 0.1


@pytest.mark.parametrize("novelty", [-40.0, -20.0, 0.0, 2.0, 40.0])
def test_scores_at_the_ends_of_the_scale_by_hand(novelty):
    """With a = exp(-quality) and b = exp(-novelty) the score is 1 / (1 + a) / (1 + b)."""
    decoder, given = with_novelty(novelty), proposals(batch=1, slots=5)
    given.logits[:] = torch.tensor([40.0, 2.0, 0.0, -20.0, -40.0]).view(1, 5, 1)
    (predicted,) = decoder(scene(given, pyramid(batch=1)))
    a, b = torch.exp(-given.logits[0, :, 0].double()), math.exp(-novelty)
    found = predicted.logits[0, :, 0].double()
    torch.testing.assert_close(found, -torch.log(a + b + a * b), atol=1e-5, rtol=1e-5)
    assert (predicted.logits <= given.logits).all() and (predicted.logits <= novelty).all()
    (slope,) = torch.autograd.grad(predicted.logits[..., 0].sum(), decoder.novelty[-1].bias)
    assert slope.item() == pytest.approx((b * (1 + a) / (a + b + a * b)).sum().item(), rel=1e-4)


@pytest.mark.parametrize("kind, options, known", [
    (LSTM, {}, "before"), (GRU, {}, "before"), (MLP, {}, "none"), (Transformer, {"heads": 2, "geometry": False}, "all"),
    (LSTM, {"layers": 2}, "before"), (LSTM, {"feedback": True}, "before"), (GRU, {"feedback": True}, "before"),
], ids=["lstm", "gru", "mlp", "transformer", "two-layers", "lstm-with-feedback", "gru-with-feedback"])
def test_which_steps_a_step_knows(kind, options, known):
    decoder, given, changed = randomised(sequence_decoder(kind, **options)), proposals(), proposals()
    changed.logits[:, 4] += 1.0
    with torch.no_grad():
        (one,), (other,) = decoder(scene(given)), decoder(scene(changed))
    same = (one.logits == other.logits).all(-1).all(0).tolist()
    expected = {"before": [True] * 4 + [False] * 6, "none": [True] * 4 + [False] + [True] * 5, "all": [False] * 10}
    assert same == expected[known]


def test_with_feedback_alone_a_step_knows_earlier_ones_that_it_overlaps():
    """The third proposal overlaps the first, the fourth none, the fifth the first, and is of another class."""
    boxes = torch.tensor([[
        [0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.7, 0.7], [0.1, 0.2, 0.3, 0.4], [0.8, 0.1, 0.9, 0.3], [0.1, 0.1, 0.3, 0.2],
    ]])
    logits = torch.tensor([[[2.0, 0, 0], [2.0, 0, 0], [2.0, 0, 0], [2.0, 0, 0], [0, 2.0, 0]]])
    decoder = randomised(sequence_decoder(MLP, feedback=True))
    changed = logits.clone()
    changed[0, 0, 0] = 1.0
    with torch.no_grad():
        (one,), (other,) = (decoder(scene(listed(given, boxes), pyramid(batch=1))) for given in (logits, changed))
    assert (one.logits == other.logits).all(-1)[0].tolist() == [False, True, False, True, True]


@each({name: case for name, case in EVERY.items() if "transformer" not in name})
def test_a_sequence_cut_short_equals_the_start_of_the_full_one(kind, options):
    decoder, given = randomised(sequence_decoder(kind, **options)), proposals()
    with torch.no_grad():
        (full,) = decoder(scene(given))
        (short,) = decoder(scene(listed(given.logits[:, :6], given.boxes[:, :6])))
    torch.testing.assert_close(full.logits[:, :6], short.logits)


@pytest.mark.parametrize("learning", [True, False], ids=["learning", "not-learning"])
@each(EVERY)
def test_slots_that_are_not_valid_change_nothing(kind, options, learning):
    decoder = randomised(sequence_decoder(kind, **options)).train(learning)
    with torch.set_grad_enabled(learning):
        (alone,) = decoder(scene())
        (padded,) = decoder(scene(proposals(invalid=4)))
    torch.testing.assert_close(padded.logits[:, :10], alone.logits)
    assert torch.equal(padded.boxes[:, :10], alone.boxes)
    assert padded.valid.tolist() == [[True] * 10 + [False] * 4] * 2 and (padded.logits[:, 10:] <= -20).all()
    assert [len(found) for found in detections_of(padded, [(9, 9)] * 2)] == [10, 10]


@each(EVERY)
def test_boxes_without_area_do_no_harm(kind, options):
    """What the dense head draws beyond the canvas is clipped to its border: two such boxes have no IoU."""
    given = proposals()
    given.logits[:, :4, 0] = 5.0  # of one class
    given.boxes[:, 1:4] = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 1], [0, 0.2, 0, 0.4]])
    decoder = randomised(sequence_decoder(kind, **options))
    (learning,) = decoder(scene(given))
    with torch.no_grad():
        (found,) = decoder(scene(given))
    assert learning.logits.isfinite().all() and found.logits.isfinite().all()
    learning.logits.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in decoder.parameters())


@each(EVERY)
def test_permuting_classes_permutes_scores(kind, options):
    decoder, given, order = randomised(sequence_decoder(kind, **options)), proposals(), [2, 0, 1]
    with torch.no_grad():
        (one,) = decoder(scene(given))
        weight = decoder.region_features.proposal.weight  # of 4 numbers of the box, then of the classes
        weight[:, 4:] = weight[:, 4:][:, order]
        (other,) = decoder(scene(listed(given.logits[..., order], given.boxes)))
    torch.testing.assert_close(one.logits[..., order], other.logits)


@pytest.mark.parametrize("layers, dropout", [(1, 0.3), (2, 0.3)])
def test_options(layers, dropout):
    for feedback in (False, True):
        decoder = sequence_decoder(layers=layers, dropout=dropout, feedback=feedback)
        (one,), (other,) = decoder(scene()), decoder(scene())
        assert not torch.equal(one.logits, other.logits)  # it drops out
        (one,), (other,) = decoder.eval()(scene()), decoder(scene())
        assert torch.equal(one.logits, other.logits)


@each(EVERY)
def test_what_is_learnt_from_the_loss(kind, options):
    """All of the decoder, and nothing of the pyramid that it reads and the head whose boxes and scores these are."""
    head, decoder = DenseHead(width=8, strides=[8, 16, 32], num_classes=3), sequence_decoder(kind, **options)
    maps = [level.requires_grad_() for level in pyramid()]
    dense, locations = head(maps, CANVAS)
    (predicted,) = decoder(Scene(maps, dense.detach(), locations, head.select(dense, 10), CANVAS))
    low = torch.rand(2, 3, 2) * 0.5
    targets = [Target(torch.cat([one, one + 0.3], 1), torch.tensor([0, 1, 2]), i, (9, 9)) for i, one in enumerate(low)]
    loss = SetLoss(
        matcher=Hungarian(class_cost=2, l1_cost=5, giou_cost=2), class_loss=Varifocal(),
        overlap_loss=generalized_box_iou_loss, class_weight=1, l1_weight=5, overlap_weight=2,
    )
    torch.stack(list(loss([predicted], targets).values())).sum().backward()
    assert all(one.grad is None for one in [*maps, *head.parameters()])
    assert all(one.grad.abs().sum() > 0 for one in decoder.parameters())


@pytest.mark.parametrize(
    "kind, options", [(MLP, {}), (Transformer, {"heads": 8, "geometry": False})], ids=["mlp", "transformer"]
)
@pytest.mark.parametrize("layers", [1, 2])
def test_rivals_have_as_many_parameters(kind, options, layers):
    def count(decoder):
        return sum(p.numel() for p in decoder.parameters())

    ours = sequence_decoder(hidden_size=128, layers=layers)
    theirs = sequence_decoder(kind, hidden_size=128, layers=layers, **options)
    assert count(theirs) == pytest.approx(count(ours), rel=0.01)
    assert count(theirs.sequence_model) == pytest.approx(count(ours.sequence_model), rel=0.01)
    assert count(ours.sequence_model) == layers * 8 * 128 * (128 + 1)


@pytest.mark.parametrize(
    "kind, options", [(MLP, {}), (Transformer, {"heads": 2, "geometry": False})], ids=["mlp", "transformer"]
)
def test_without_recurrence_the_order_of_proposals_does_not_matter(kind, options):
    given = proposals()
    again = mixed(given)
    decoder, lstm = randomised(sequence_decoder(kind, **options)), randomised(sequence_decoder())
    with torch.no_grad():
        (one, other), recurrent = (
            [model(scene(some))[-1] for some in (given, listed(again.logits, again.boxes))] for model in (decoder, lstm)
        )
    torch.testing.assert_close(mixed(one).logits, other.logits)
    assert not torch.allclose(mixed(recurrent[0]).logits, recurrent[1].logits, atol=0.01)
