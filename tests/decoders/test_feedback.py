"""The feedback of earlier predictions, and the parallel segments in which it is computed."""

import math

import pytest
import torch
from small_decoders import changed_at, proposals, pyramid, randomised, same_steps, scene, sequence_decoder

from detector.decoders import sequence_decoder as module
from detector.decoders.gru import GRU
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.sequence_decoder import parallel_segments
from detector.decoders.transformer import Transformer
from detector.errors import InputError
from detector.types import Predictions


def test_after_a_one_to_many_stage_slots_are_sorted_by_score(monkeypatch):
    decoder, seen = randomised(sequence_decoder(feedback=True)), []

    def spy(stage):
        def forward(scene, given, hidden):
            made = stage(scene, given, hidden)
            seen.append((given, hidden, *made))
            return made
        return forward

    for one in decoder.stages:
        monkeypatch.setattr(one, "forward", spy(one.forward))
    decoder(scene())
    (_, nothing, first, known), (again, hidden, _, _) = seen
    assert nothing is None and (again.logits.amax(-1).diff(dim=1) <= 0).all()
    for image in range(2):  # each hidden vector stays with its box
        place = (again.boxes[image][:, None] == first.boxes[image]).all(-1).int().argmax(1)
        assert sorted(place.tolist()) == list(range(10)) and torch.equal(hidden[image], known[image][place])


def test_with_feedback_all_stages_but_the_last_are_one_to_many():
    given = scene()
    assert [one.one_to_many for one in sequence_decoder(stages=3, feedback=True)(given, [])] == [True, True, False]
    assert not any(one.one_to_many for one in sequence_decoder(stages=3)(given))


def test_feedback_starts_as_no_feedback():
    """Going segment by segment changes nothing as long as feedback weighs nothing."""
    given = proposals()
    for kind, options in ((LSTM, {}), (LSTM, {"layers": 2}), (GRU, {}), (MLP, {})):
        without, with_feedback = (
            randomised(sequence_decoder(kind, stages=1, feedback=fed, **options)) for fed in (False, True)
        )
        with_feedback.load_state_dict(without.state_dict(), strict=False)
        for parameter in with_feedback.stages[0].feedback.parameters():
            torch.nn.init.zeros_(parameter)
        with torch.no_grad():
            (ours,), (theirs,) = without(scene(given)), with_feedback(scene(given))
        torch.testing.assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.boxes, theirs.boxes)


def test_what_is_fed_back_by_hand():
    """The second proposal lies on the first by .4, the fourth on the first by 1 and the second by .4; the third is of
    another class."""
    boxes = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.16], [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.4]]])
    logits = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.0]]])
    given = Predictions(logits, boxes)
    decoder = randomised(sequence_decoder(feedback=True, stages=1))
    seen = []
    decoder.stages[0].feedback.register_forward_hook(lambda layer, given, made: seen.append(given[0]))
    (predicted,) = decoder(scene(given, pyramid(batch=1)))
    scores = predicted.logits[0].detach().sigmoid().amax(-1)
    products = [[0.0], [0.4 * scores[0]], [0.0], [scores[0], 0.4 * scores[1]]]
    expected = torch.tensor([[max(one), math.log1p(sum(one))] for one in products])
    assert [len(one[0]) for one in seen] == [1, 2, 1, 4]
    torch.testing.assert_close(torch.cat(seen[:3], 1)[0], expected)  # as steps have to wait for each other
    torch.testing.assert_close(seen[3][0], expected)  # and all at once, to learn from
    with torch.no_grad():
        (again,) = decoder(scene(given, pyramid(batch=1)))
    assert len(seen) == 4 + 3  # where nothing is learnt, once is enough
    torch.testing.assert_close(again.logits, predicted.logits)
    torch.testing.assert_close(again.boxes, predicted.boxes)


def test_parallel_segments_by_hand():
    """In the first image 2 lies on 0 and 4 on 3, in the second 1 on 0 and 4 on 2."""
    iou = torch.zeros(2, 5, 5)
    iou[0, 2, 0] = iou[0, 4, 3] = iou[1, 1, 0] = iou[1, 4, 2] = 0.1
    assert [(one.start, one.stop) for one in parallel_segments(iou[:1])] == [(0, 2), (2, 4), (4, 5)]
    assert [(one.start, one.stop) for one in parallel_segments(iou[1:])] == [(0, 1), (1, 4), (4, 5)]
    assert [(one.start, one.stop) for one in parallel_segments(iou)] == [(0, 1), (1, 4), (4, 5)]
    assert parallel_segments(torch.zeros(1, 3, 3)) == [slice(0, 3)]


@pytest.mark.parametrize("kind, options", [(LSTM, {}), (LSTM, {"layers": 2}), (GRU, {}), (MLP, {})])
def test_segments_give_what_single_steps_give(kind, options, monkeypatch):
    torch.manual_seed(0)
    low = torch.rand(1, 10, 2) * 0.9
    given = Predictions(torch.randn(1, 10, 3), torch.cat([low, low + 0.1 + 0.2 * torch.rand(1, 10, 2)], -1))
    decoder, cut = randomised(sequence_decoder(kind, feedback=True, **{"stages": 1, **options})), []

    def spy(iou):
        cut.append(parallel_segments(iou))
        return cut[-1]

    def one_by_one(iou):
        return [slice(step, step + 1) for step in range(10)]

    predicted = []
    for cutting in (spy, one_by_one):
        monkeypatch.setattr(module, "parallel_segments", cutting)
        with torch.no_grad():
            predicted += decoder(scene(given, pyramid(batch=1)))
    assert 1 < len(cut[0]) < 10
    torch.testing.assert_close(predicted[0].logits, predicted[1].logits)
    torch.testing.assert_close(predicted[0].boxes, predicted[1].boxes)


def test_feedback_comes_from_earlier_steps_alone():
    assert same_steps(randomised(sequence_decoder(feedback=True, stages=1)), *changed_at(4)) == [True] * 4 + [False] * 6
    with pytest.raises(InputError, match="needs a decoder whose slots depend on earlier ones alone: lstm, gru or"):
        sequence_decoder(Transformer, feedback=True, heads=2)
