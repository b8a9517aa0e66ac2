import math

import pytest
import torch

from detector.decoders import list_reader
from detector.decoders.gru import GRU
from detector.decoders.list_reader import covered_before, noised, stretches
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.sampling import sample_under_boxes
from detector.decoders.transformer import Transformer
from detector.errors import InputError
from detector.types import Locations, Predictions, Scene, Target

CANVAS = (96, 128)


def pyramid(batch=2, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, 12 // 2**k, 16 // 2**k, generator=generator) for k in range(3)]


def proposals(batch=2, slots=10, classes=3, seed=0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(batch, slots, 2, generator=generator) * 0.5
    boxes = torch.cat([low, low + 0.1 + 0.3 * torch.rand(batch, slots, 2, generator=generator)], -1)
    return Predictions(torch.randn(batch, slots, classes, generator=generator), boxes)


def scene(given: Predictions | None = None, maps: list | None = None) -> Scene:
    given = given or proposals()
    nowhere = Locations(torch.zeros(0, 2), torch.zeros(0, 2), [])
    return Scene(maps or pyramid(), Predictions(given.logits[:, :0], given.boxes[:, :0]), nowhere, given, CANVAS)


def lstm(kind=LSTM, **options):
    torch.manual_seed(0)
    options = {"hidden_size": 16, "layers": 1, "dropout": 0.0, "slots": 10, "passes": 2, "points": 2, **options}
    return kind(width=8, strides=[8, 16, 32], num_classes=3, **options)


def outspoken(decoder):
    """With outputs far from what was proposed, so that differences show."""
    for one_pass in decoder.passes:
        for output in (one_pass.writing.classes[-1], one_pass.writing.box[-1]):
            torch.nn.init.normal_(output.weight)
    return decoder.eval()


def changed_at(step: int) -> tuple[Predictions, Predictions]:
    given = proposals()
    changed = Predictions(given.logits.clone(), given.boxes)
    changed.logits[:, step] += 1.0
    return given, changed


def same_steps(decoder, given, changed) -> list[bool]:
    with torch.no_grad():
        a, b = decoder(scene(given))[-1], decoder(scene(changed))[-1]
    return ((a.logits == b.logits).all(-1) & (a.boxes == b.boxes).all(-1)).all(0).tolist()


def test_it_starts_at_the_quality_of_the_proposals():
    given = proposals()
    for written in lstm()(scene(given)):
        torch.testing.assert_close(written.boxes, given.boxes, atol=0.01, rtol=0)
        torch.testing.assert_close(written.logits, given.logits, atol=0.05, rtol=0)


@pytest.mark.parametrize("kind, options, known", [
    (LSTM, {}, "before"), (GRU, {}, "before"), (MLP, {}, "none"), (Transformer, {"heads": 2}, "all"),
    (LSTM, {"bidirectional": True}, "all"), (LSTM, {"layers": 2}, "before"),
], ids=["lstm", "gru", "mlp", "transformer", "bidirectional", "two-layers"])
def test_which_steps_a_step_knows(kind, options, known):
    decoder = outspoken(lstm(kind, passes=1, **options))
    with torch.no_grad():  # scores as they are, so that what changes is what is remembered
        same = same_steps(decoder, *changed_at(4))
    expected = {"before": [True] * 4 + [False] * 6, "none": [True] * 4 + [False] + [True] * 5, "all": [False] * 10}
    assert same == expected[known]


def test_a_sequence_cut_short_equals_the_start_of_the_full_one():
    decoder, given = lstm(passes=1).eval(), proposals()
    with torch.no_grad():
        (full,) = decoder(scene(given))
        (short,) = decoder(scene(Predictions(given.logits[:, :6], given.boxes[:, :6])))
    torch.testing.assert_close(full.logits[:, :6], short.logits)
    torch.testing.assert_close(full.boxes[:, :6], short.boxes)


@pytest.mark.parametrize("passes, layers, dropout", [(1, 1, 0.0), (3, 2, 0.3)])
def test_options(passes, layers, dropout):
    written = lstm(passes=passes, layers=layers, dropout=dropout)(scene())
    assert len(written) == passes
    assert all(((w.boxes >= -1e-3) & (w.boxes <= 1.001)).all() for w in written)


def test_no_gradient_reaches_the_proposals():
    given = proposals()
    given.logits.requires_grad_(), given.boxes.requires_grad_()
    maps = [m.requires_grad_() for m in pyramid()]
    written = lstm()(scene(given, maps))[-1]
    (written.logits.sum() + written.boxes.sum()).backward()
    assert given.logits.grad is None and given.boxes.grad is None and all(m.grad is not None for m in maps)


@pytest.mark.parametrize("kind, options", [(MLP, {}), (Transformer, {"heads": 8})], ids=["mlp", "transformer"])
@pytest.mark.parametrize("layers", [1, 2])
def test_rivals_have_as_many_parameters(kind, options, layers):
    def count(decoder):
        return sum(p.numel() for p in decoder.parameters())

    ours = lstm(hidden_size=128, layers=layers)
    theirs = lstm(kind, hidden_size=128, layers=layers, **options)
    assert count(theirs) == pytest.approx(count(ours), rel=0.01)
    assert count(theirs.passes[0].memory) == pytest.approx(count(ours.passes[0].memory), rel=0.01)


def test_orders():
    given = proposals()
    def first_boxes(order):
        return lstm(order=order, passes=1)(scene(given))[-1].boxes

    middles = first_boxes("left_to_right")[..., [0, 2]].sum(-1)
    assert (middles.diff(dim=1) > -0.01).all()
    assert torch.equal(first_boxes("random"), first_boxes("random"))
    by_score = first_boxes("score")
    for order in ("left_to_right", "random"):
        other = first_boxes(order)
        assert not torch.allclose(other, by_score, atol=0.05)
        torch.testing.assert_close(other.sort(1).values, by_score.sort(1).values, atol=0.01, rtol=0)
    with pytest.raises(InputError, match="order is 'size'; there are score, left_to_right, random"):
        lstm(order="size")


@pytest.mark.parametrize("feedback", [True, False])
def test_permuting_proposals_before_they_are_ordered_changes_nothing(feedback):
    given, mixed = proposals(), torch.randperm(10, generator=torch.Generator().manual_seed(1)).expand(2, -1)
    decoder = outspoken(lstm(order="left_to_right", feedback=feedback))
    with torch.no_grad():
        one, other = decoder(scene(given))[-1], decoder(scene(given.gather(mixed)))[-1]
        read_as_given = outspoken(lstm(order="score", feedback=False))
        unlike = read_as_given(scene(given))[-1], read_as_given(scene(given.gather(mixed)))[-1]
    torch.testing.assert_close(one.boxes, other.boxes)
    torch.testing.assert_close(one.logits, other.logits)
    assert not torch.allclose(unlike[0].logits.gather(1, mixed[..., None].expand(-1, -1, 3)), unlike[1].logits, atol=0.01)


@pytest.mark.parametrize("order", ["score", "left_to_right", "random"])
def test_a_draft_is_read_sorted_anew(order, monkeypatch):
    decoder, seen = outspoken(lstm(order=order, feedback=True)), []

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
    assert [written.draft for written in lstm(passes=3, groups=2, feedback=True)(read, [])] == 2 * [True, True, False]
    assert not any(written.draft for written in lstm(passes=3)(read))


def test_what_earlier_proposals_cover_by_hand():
    boxes = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.16], [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.4]]])
    logits = torch.tensor([[[1.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.3, 0.0]]])
    first = torch.tensor(1.0).sigmoid().item()
    expected = torch.tensor([[
        [0.0, 0.0, 0.0, 0.0], [0.4, 0.4 * first, 0.0, 0.25], [0.0, 0.0, 0.0, 0.5], [1.0, first, 0.6931472, 0.75]  # ln 2
    ]])
    torch.testing.assert_close(covered_before(Predictions(logits, boxes)), expected)


def test_feedback_starts_as_no_feedback():
    """Going step by step changes nothing as long as what is fed back weighs nothing."""
    given = proposals()
    for kind, options in ((LSTM, {}), (LSTM, {"layers": 2}), (GRU, {}), (MLP, {})):
        plain, told = (outspoken(lstm(kind, passes=1, feedback=fed, **options)) for fed in (False, True))
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
    decoder = outspoken(lstm(feedback=True, passes=1))
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
    decoder, cut = outspoken(lstm(kind, feedback=True, **{"passes": 1, **options})), []

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
    assert same_steps(outspoken(lstm(feedback=True, passes=1)), *changed_at(4)) == [True] * 4 + [False] * 6
    for kind, options in ((Transformer, {"heads": 2}), (LSTM, {"bidirectional": True})):
        with pytest.raises(InputError, match="feedback needs a reader that goes step by step: lstm, gru or mlp"):
            lstm(kind, feedback=True, **options)


def test_several_boxes_for_a_proposal():
    written = lstm(writes=3)(scene())
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
    decoder = lstm(denoising=2, groups=3)
    torch.manual_seed(1)
    passes = decoder(scene(), targets())
    assert [one.boxes.shape[1] for one in passes] == [6, 6, 10, 10, 10, 10, 10, 10]
    assert len(decoder(scene())) == 2 and len(decoder.eval()(scene(), targets())) == 2
    nothing = [Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, (9, 9))] * 2
    assert len(decoder.train()(scene(), nothing)) == 6


@pytest.mark.parametrize("canvas", [(96, 128), (90, 120)])
def test_sampling_reads_where_the_box_is(canvas):
    """Maps that hold their own pixel coordinates: what is read is where it was read."""
    maps = []
    for stride in (8, 16, 32):
        rows, columns = -(-canvas[0] // stride), -(-canvas[1] // stride)
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        maps.append(torch.stack([x, y])[None] * stride)
    box = torch.tensor([[[0.3, 0.3, 0.6, 0.7]]])
    read = sample_under_boxes(maps, box, strides=[8, 16, 32], canvas=canvas, points=2).view(3, 4, 2)
    x = [canvas[1] * (0.3 + 0.3 * f) for f in (0.25, 0.75)]
    y = [canvas[0] * (0.3 + 0.4 * f) for f in (0.25, 0.75)]
    expected = torch.tensor([[x[0], y[0]], [x[1], y[0]], [x[0], y[1]], [x[1], y[1]]])
    for level in read:
        torch.testing.assert_close(level, expected, atol=1e-3, rtol=0)
