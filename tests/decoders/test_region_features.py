import pytest
import torch

from detector.decoders.region_features import sample_under_boxes


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
