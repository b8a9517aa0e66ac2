import pytest
import torch
from small_decoders import changed_at, proposals, pyramid, randomised, same_steps, scene, sequence_decoder

from detector.decoders.gru import GRU
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.transformer import Transformer
from detector.types import Predictions


def test_it_starts_at_the_quality_of_the_proposals():
    given = proposals()
    for predicted in sequence_decoder()(scene(given)):
        torch.testing.assert_close(predicted.boxes, given.boxes, atol=0.01, rtol=0)
        torch.testing.assert_close(predicted.logits, given.logits, atol=0.05, rtol=0)


@pytest.mark.parametrize("kind, options, known", [
    (LSTM, {}, "before"), (GRU, {}, "before"), (MLP, {}, "none"), (Transformer, {"heads": 2}, "all"),
    (LSTM, {"layers": 2}, "before"),
], ids=["lstm", "gru", "mlp", "transformer", "two-layers"])
def test_which_steps_a_step_knows(kind, options, known):
    decoder = randomised(sequence_decoder(kind, stages=1, **options))
    with torch.no_grad():  # scores as they are, so that what changes is the recurrent state
        same = same_steps(decoder, *changed_at(4))
    expected = {"before": [True] * 4 + [False] * 6, "none": [True] * 4 + [False] + [True] * 5, "all": [False] * 10}
    assert same == expected[known]


def test_a_sequence_cut_short_equals_the_start_of_the_full_one():
    decoder, given = sequence_decoder(stages=1).eval(), proposals()
    with torch.no_grad():
        (full,) = decoder(scene(given))
        (short,) = decoder(scene(Predictions(given.logits[:, :6], given.boxes[:, :6])))
    torch.testing.assert_close(full.logits[:, :6], short.logits)
    torch.testing.assert_close(full.boxes[:, :6], short.boxes)


@pytest.mark.parametrize("stages, layers, dropout", [(1, 1, 0.0), (3, 2, 0.3)])
def test_options(stages, layers, dropout):
    predicted = sequence_decoder(stages=stages, layers=layers, dropout=dropout)(scene())
    assert len(predicted) == stages
    assert all(((w.boxes >= -1e-3) & (w.boxes <= 1.001)).all() for w in predicted)


def test_no_gradient_reaches_the_proposals():
    given = proposals()
    given.logits.requires_grad_(), given.boxes.requires_grad_()
    maps = [m.requires_grad_() for m in pyramid()]
    predicted = sequence_decoder()(scene(given, maps))[-1]
    (predicted.logits.sum() + predicted.boxes.sum()).backward()
    assert given.logits.grad is None and given.boxes.grad is None and all(m.grad is not None for m in maps)


@pytest.mark.parametrize("kind, options", [(MLP, {}), (Transformer, {"heads": 8})], ids=["mlp", "transformer"])
@pytest.mark.parametrize("layers", [1, 2])
def test_rivals_have_as_many_parameters(kind, options, layers):
    def count(decoder):
        return sum(p.numel() for p in decoder.parameters())

    ours = sequence_decoder(hidden_size=128, layers=layers)
    theirs = sequence_decoder(kind, hidden_size=128, layers=layers, **options)
    assert count(theirs) == pytest.approx(count(ours), rel=0.01)
    assert count(theirs.stages[0].sequence_model) == pytest.approx(count(ours.stages[0].sequence_model), rel=0.01)


@pytest.mark.parametrize("kind, options", [(MLP, {}), (Transformer, {"heads": 2})], ids=["mlp", "transformer"])
def test_without_recurrence_the_order_of_proposals_does_not_matter(kind, options):
    given, mixed = proposals(), torch.randperm(10, generator=torch.Generator().manual_seed(1)).expand(2, -1)
    decoder = randomised(sequence_decoder(kind, **options))
    with torch.no_grad():
        one, other = decoder(scene(given))[-1], decoder(scene(given.gather(mixed)))[-1]
        lstm = randomised(sequence_decoder())
        recurrent = lstm(scene(given))[-1], lstm(scene(given.gather(mixed)))[-1]
    torch.testing.assert_close(one.gather(mixed).boxes, other.boxes)
    torch.testing.assert_close(one.gather(mixed).logits, other.logits)
    assert not torch.allclose(recurrent[0].gather(mixed).logits, recurrent[1].logits, atol=0.01)
