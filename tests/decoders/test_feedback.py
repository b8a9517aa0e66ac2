"""The feedback of earlier predictions, and the parallel segments in which it is computed."""

import math

import pytest
import torch
from small_decoders import listed, proposals, pyramid, randomised, scene, sequence_decoder

from detector.decoders import sequence_decoder as module
from detector.decoders.feedback import Feedback
from detector.decoders.gru import GRU
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.pairwise_geometry import relative_places
from detector.decoders.sequence_decoder import iou_with_earlier, parallel_segments
from detector.decoders.transformer import Transformer
from detector.errors import InputError

KINDS = pytest.mark.parametrize("kind, options", [(LSTM, {}), (LSTM, {"layers": 2}), (GRU, {}), (MLP, {})])


def by_hand(
    iou: dict[int, float], quality: list[float], novelty: list[float], boxes: list[list[float]], slot: int
) -> list[float]:
    """The numbers of a slot from the IoU with each earlier one of its class, as `Feedback.of` says."""
    scores = [first * second for first, second in zip(quality, novelty)]
    products = {other: overlap * scores[other] for other, overlap in iou.items()}
    if not any(products.values()):
        return [0.0] * 9
    most = max(products, key=lambda other: products[other])
    (x1, y1, x2, y2), (u1, v1, u2, v2) = boxes[slot], boxes[most]
    width, height = x2 - x1, y2 - y1
    return [
        products[most], math.log1p(sum(products.values())), iou[most], scores[most],
        ((u1 + u2) - (x1 + x2)) / 2 / width, ((v1 + v2) - (y1 + y2)) / 2 / height,
        math.log((u2 - u1) / width), math.log((v2 - v1) / height),
        sum(overlap**2 * novelty[other] for other, overlap in iou.items()),
    ]


BOXES = [
    [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.16], [0.0, 0.0, 0.4, 0.4], [0.2, 0.0, 0.6, 0.4], [0.7, 0.7, 0.9, 0.9],
    [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0],
]
"""The second lies on the first by .4, the fourth on the first by 1/3 and on the second by 1/6; the third is of another
class, the fifth overlaps none, the others are not valid."""
IOU = [{}, {0: 0.4}, {}, {0: 1 / 3, 1: 1 / 6}, {}, {}, {}]


def short_list() -> module.StagePredictions:
    logits = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.0], [0.2, 0.0, 0.0]]])
    return listed(logits, torch.tensor([BOXES[:5]]), invalid=2)


def test_the_iou_with_earlier_ones_by_hand():
    expected = torch.tensor([[[one.get(other, 0.0) for other in range(7)] for one in IOU]])
    torch.testing.assert_close(iou_with_earlier(short_list()), expected)
    given = short_list()
    given.valid = None  # every slot is
    given.boxes[0, 5:] = given.boxes[0, 0]
    assert iou_with_earlier(given)[0, 6].tolist() == pytest.approx([1, 0.4, 0, 1 / 3, 0, 1, 0])


@pytest.mark.parametrize("novelty", [[0.9, 0.5, 0.8, 0.0], [0.1, 0.9, 0.8, 0.0], [0.0, 0.0, 0.8, 0.0]])
def test_the_numbers_by_hand(novelty):
    """Where the first novelty is small the second box covers the fourth most; where both are 0 none does."""
    quality, novelty = [0.9, 0.8, 0.7, 0.6, 0.5, 0.0, 0.0], [*novelty, 0.0, 0.0, 0.0]
    iou, relative = iou_with_earlier(short_list()), relative_places(torch.tensor([BOXES]))
    found = Feedback.of(iou[:, 1:4], relative[:, 1:4], torch.tensor([quality]), torch.tensor([novelty]))
    expected = torch.tensor([[by_hand(IOU[slot], quality, novelty, BOXES, slot) for slot in (1, 2, 3)]])
    torch.testing.assert_close(found, expected)


def test_boxes_far_larger_or_far_off_are_so_up_to_a_limit():
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.0, 0.9, 0.001, 0.9001]]])
    iou, quality, novelty = torch.tensor([[[0.5, 0.0]]]), torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0]])
    found = Feedback.of(iou, relative_places(boxes)[:, 1:], quality, novelty)
    assert found[0, 0].tolist() == pytest.approx([0.5, math.log(1.5), 0.5, 1.0, 4.0, -4.0, 4.0, 4.0, 0.25])


@KINDS
def test_what_is_fed_back_by_hand(kind, options):
    """The novelty is what the decoder itself predicts."""
    decoder, seen = randomised(sequence_decoder(kind, feedback=True, **options)), []
    decoder.feedback.register_forward_hook(lambda layer, given, made: seen.append(given[0]))
    given = scene(short_list(), pyramid(batch=1))
    (predicted,) = decoder(given)
    quality, scores = (one.logits[0].detach().sigmoid().amax(-1) for one in (given.proposals, predicted))
    novelty = (scores / quality).tolist()
    expected = torch.tensor([[by_hand(one, quality.tolist(), novelty, BOXES, slot) for slot, one in enumerate(IOU)]])
    assert [one.shape[1] for one in seen] == [1, 2, 4, 7]  # segments, and all at once to learn from
    torch.testing.assert_close(torch.cat(seen[:3], 1), expected)
    torch.testing.assert_close(seen[3], expected)
    with torch.no_grad():
        (again,) = decoder(given)
    assert len(seen) == 4 + 3  # where nothing is learnt, once is enough
    torch.testing.assert_close(again.logits, predicted.logits)


@KINDS
def test_feedback_that_weighs_nothing_is_no_feedback(kind, options):
    """Going segment by segment changes nothing."""
    without, with_feedback = (randomised(sequence_decoder(kind, feedback=fed, **options)) for fed in (False, True))
    with_feedback.load_state_dict(without.state_dict(), strict=False)
    for parameter in with_feedback.feedback.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        (ours,), (theirs,) = without(scene()), with_feedback(scene())
    torch.testing.assert_close(ours.logits, theirs.logits)


def test_parallel_segments_by_hand():
    """In the first image 2 lies on 0 and 4 on 3, in the second 1 on 0 and 4 on 2."""
    iou = torch.zeros(2, 5, 5)
    iou[0, 2, 0] = iou[0, 4, 3] = iou[1, 1, 0] = iou[1, 4, 2] = 0.1
    assert [(one.start, one.stop) for one in parallel_segments(iou[:1])] == [(0, 2), (2, 4), (4, 5)]
    assert [(one.start, one.stop) for one in parallel_segments(iou[1:])] == [(0, 1), (1, 4), (4, 5)]
    assert [(one.start, one.stop) for one in parallel_segments(iou)] == [(0, 1), (1, 4), (4, 5)]
    assert parallel_segments(torch.zeros(1, 3, 3)) == [slice(0, 3)]


@KINDS
def test_segments_give_what_single_steps_give(kind, options, monkeypatch):
    torch.manual_seed(0)
    low = torch.rand(1, 10, 2) * 0.9
    given = listed(torch.randn(1, 10, 3), torch.cat([low, low + 0.1 + 0.2 * torch.rand(1, 10, 2)], -1))
    decoder, cut = randomised(sequence_decoder(kind, feedback=True, **options)), []

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


@KINDS
def test_no_gradient_goes_through_the_feedback(kind, options):
    """A slot's score does not learn from what it makes of later ones."""
    decoder, given = randomised(sequence_decoder(kind, feedback=True, **options)), scene(proposals(), pyramid())
    fed = []
    decoder.feedback.register_forward_hook(lambda layer, numbers, made: fed.append(numbers[0]))
    decoder(given)
    assert not any(numbers.requires_grad for numbers in fed) and fed[-1].abs().sum() > 0


def test_feedback_is_not_for_steps_that_know_later_ones():
    with pytest.raises(InputError, match="needs a decoder whose slots depend on earlier ones alone: lstm, gru or"):
        sequence_decoder(Transformer, feedback=True, heads=2, geometry=False)
