"""What steps of a list are told of those before them, and the stretches in which it is found out."""

import math

import pytest
import torch
from readers import changed_at, outspoken, proposals, pyramid, reader, same_steps, scene

from detector.decoders import list_reader
from detector.decoders.gru import GRU
from detector.decoders.list_reader import stretches
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.transformer import Transformer
from detector.errors import InputError
from detector.types import Predictions


@pytest.mark.parametrize("order", ["score", "left_to_right", "random"])
def test_a_draft_is_read_sorted_anew(order, monkeypatch):
    decoder, seen = outspoken(reader(order=order, feedback=True)), []

    def spy(read):
        def forward(scene, given, state):
            written = read(scene, given, state)
            seen.append((given, state, *written))
            return written
        return forward

    for one in decoder.passes:
        monkeypatch.setattr(one, "forward", spy(one.forward))
    decoder(scene())
    (_, nothing, draft, known), (again, state, _, _) = seen
    key = {"score": -again.logits.amax(-1), "left_to_right": again.boxes[..., [0, 2]].sum(-1)}.get(order)
    assert nothing is None and (torch.equal(again.boxes, draft.boxes) if key is None else (key.diff(dim=1) >= 0).all())
    for image in range(2):  # each state stays with its box
        place = (again.boxes[image][:, None] == draft.boxes[image]).all(-1).int().argmax(1)
        assert sorted(place.tolist()) == list(range(10)) and torch.equal(state[image], known[image][place])


def test_with_feedback_all_passes_but_the_last_are_drafts():
    read = scene()
    assert [written.draft for written in reader(passes=3, groups=2, feedback=True)(read, [])] == 2 * [True, True, False]
    assert not any(written.draft for written in reader(passes=3)(read))


def test_feedback_starts_as_no_feedback():
    """Going step by step changes nothing as long as what is fed back weighs nothing."""
    given = proposals()
    for kind, options in ((LSTM, {}), (LSTM, {"layers": 2}), (GRU, {}), (MLP, {})):
        plain, told = (outspoken(reader(kind, passes=1, feedback=fed, **options)) for fed in (False, True))
        told.load_state_dict(plain.state_dict(), strict=False)
        torch.nn.init.zeros_(told.passes[0].feedback.weight), torch.nn.init.zeros_(told.passes[0].feedback.bias)
        with torch.no_grad():
            (ours,), (theirs,) = plain(scene(given)), told(scene(given))
        torch.testing.assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.boxes, theirs.boxes)


def test_what_is_fed_back_by_hand():
    """The second proposal lies on the first by .4, the fourth on the first by 1 and the second by .4; the third is of
    another class."""
    boxes = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.16], [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.4]]])
    logits = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.0]]])
    given = Predictions(logits, boxes)
    decoder = outspoken(reader(feedback=True, passes=1))
    told = []
    decoder.passes[0].feedback.register_forward_hook(lambda layer, seen, made: told.append(seen[0]))
    (written,) = decoder(scene(given, pyramid(batch=1)))
    scores = written.logits[0].detach().sigmoid().amax(-1)
    products = [[0.0], [0.4 * scores[0]], [0.0], [scores[0], 0.4 * scores[1]]]
    expected = torch.tensor([[max(one), math.log1p(sum(one))] for one in products])
    assert [len(one[0]) for one in told] == [1, 2, 1, 4]
    torch.testing.assert_close(torch.cat(told[:3], 1)[0], expected)  # as steps have to wait for each other
    torch.testing.assert_close(told[3][0], expected)  # and all at once, to learn from
    with torch.no_grad():
        (again,) = decoder(scene(given, pyramid(batch=1)))
    assert len(told) == 4 + 3  # where nothing is learnt, once is enough
    torch.testing.assert_close(again.logits, written.logits)
    torch.testing.assert_close(again.boxes, written.boxes)


def test_stretches_by_hand():
    """In the first image 2 lies on 0 and 4 on 3, in the second 1 on 0 and 4 on 2."""
    iou = torch.zeros(2, 5, 5)
    iou[0, 2, 0] = iou[0, 4, 3] = iou[1, 1, 0] = iou[1, 4, 2] = 0.1
    assert [(one.start, one.stop) for one in stretches(iou[:1])] == [(0, 2), (2, 4), (4, 5)]
    assert [(one.start, one.stop) for one in stretches(iou[1:])] == [(0, 1), (1, 4), (4, 5)]
    assert [(one.start, one.stop) for one in stretches(iou)] == [(0, 1), (1, 4), (4, 5)]
    assert stretches(torch.zeros(1, 3, 3)) == [slice(0, 3)]


@pytest.mark.parametrize("kind, options", [(LSTM, {}), (LSTM, {"layers": 2}), (GRU, {}), (MLP, {}), (LSTM, {"writes": 2})])
def test_stretches_are_read_as_steps_are(kind, options, monkeypatch):
    torch.manual_seed(0)
    low = torch.rand(1, 10, 2) * 0.9
    given = Predictions(torch.randn(1, 10, 3), torch.cat([low, low + 0.1 + 0.2 * torch.rand(1, 10, 2)], -1))
    decoder, cut = outspoken(reader(kind, feedback=True, **{"passes": 1, **options})), []

    def spy(iou):
        cut.append(stretches(iou))
        return cut[-1]

    def one_by_one(iou):
        return [slice(step, step + 1) for step in range(10)]

    written = []
    for cutting in (spy, one_by_one):
        monkeypatch.setattr(list_reader, "stretches", cutting)
        with torch.no_grad():
            written += decoder(scene(given, pyramid(batch=1)))
    assert 1 < len(cut[0]) < 10
    torch.testing.assert_close(written[0].logits, written[1].logits)
    torch.testing.assert_close(written[0].boxes, written[1].boxes)


def test_feedback_knows_the_steps_before_alone():
    assert same_steps(outspoken(reader(feedback=True, passes=1)), *changed_at(4)) == [True] * 4 + [False] * 6
    for kind, options in ((Transformer, {"heads": 2}), (LSTM, {"bidirectional": True})):
        with pytest.raises(InputError, match="feedback needs a reader that goes step by step: lstm, gru or mlp"):
            reader(kind, feedback=True, **options)
