import pytest
import torch

from detector.decoders.lstm import LSTM
from detector.decoders.sampling import sample_under_boxes
from detector.types import Predictions

CANVAS = (96, 128)


def pyramid(batch=2, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, 12 // 2**k, 16 // 2**k, generator=generator) for k in range(3)]


def proposals(batch=2, slots=10, classes=3, seed=0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(batch, slots, 2, generator=generator) * 0.5
    boxes = torch.cat([low, low + 0.1 + 0.3 * torch.rand(batch, slots, 2, generator=generator)], -1)
    return Predictions(torch.randn(batch, slots, classes, generator=generator), boxes)


def lstm(**options) -> LSTM:
    torch.manual_seed(0)
    options = {"hidden_size": 16, "layers": 1, "dropout": 0.0, "slots": 10, "passes": 2, "points": 2, **options}
    return LSTM(width=8, strides=[8, 16, 32], num_classes=3, **options)


def test_it_starts_at_the_quality_of_the_proposals():
    given = proposals()
    for written in lstm()(pyramid(), given, CANVAS):
        torch.testing.assert_close(written.boxes, given.boxes, atol=0.01, rtol=0)
        torch.testing.assert_close(written.logits, given.logits, atol=0.05, rtol=0)


def test_a_step_knows_the_steps_before_it_and_none_after_it():
    decoder = lstm(passes=1).eval()
    for output in (decoder.passes[0].write_class[-1], decoder.passes[0].write_box[-1]):
        torch.nn.init.normal_(output.weight)
    given, maps = proposals(), pyramid()
    changed = Predictions(given.logits.clone(), given.boxes)
    changed.logits[:, 4] += 1.0
    with torch.no_grad():
        (a,), (b,) = decoder(maps, given, CANVAS), decoder(maps, changed, CANVAS)
    same = (a.logits == b.logits).all(-1).all(0)
    assert same[:4].all() and not same[4:].any()
    assert not torch.equal(a.boxes[:, 5:], b.boxes[:, 5:])


def test_a_sequence_cut_short_equals_the_start_of_the_full_one():
    decoder, maps, given = lstm(passes=1).eval(), pyramid(), proposals()
    with torch.no_grad():
        (full,) = decoder(maps, given, CANVAS)
        (short,) = decoder(maps, Predictions(given.logits[:, :6], given.boxes[:, :6]), CANVAS)
    torch.testing.assert_close(full.logits[:, :6], short.logits)
    torch.testing.assert_close(full.boxes[:, :6], short.boxes)


@pytest.mark.parametrize("passes, layers, dropout", [(1, 1, 0.0), (3, 2, 0.3)])
def test_options(passes, layers, dropout):
    written = lstm(passes=passes, layers=layers, dropout=dropout)(pyramid(), proposals(), CANVAS)
    assert len(written) == passes
    assert all(((w.boxes >= -1e-3) & (w.boxes <= 1.001)).all() for w in written)


def test_no_gradient_reaches_the_proposals():
    given = proposals()
    given.logits.requires_grad_(), given.boxes.requires_grad_()
    maps = [m.requires_grad_() for m in pyramid()]
    written = lstm()(maps, given, CANVAS)[-1]
    (written.logits.sum() + written.boxes.sum()).backward()
    assert given.logits.grad is None and given.boxes.grad is None and all(m.grad is not None for m in maps)


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
