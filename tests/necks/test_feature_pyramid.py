import pytest
import torch

from detector.errors import InputError
from detector.necks.feature_pyramid import FeaturePyramid
from detector.proposals.dense_head import DenseHead

STRIDES = [4, 8, 16, 32]
MAPS = [torch.randn(1, channels, 64 // stride, 96 // stride) for channels, stride in zip((2, 3, 4, 5), STRIDES)]


@pytest.mark.parametrize("finest, strides", [(4, STRIDES), (8, [8, 16, 32]), (32, [32])])
def test_levels_begin_at_the_finest_stride(finest, strides):
    neck = FeaturePyramid(channels=[2, 3, 4, 5], strides=STRIDES, width=8, finest_stride=finest)
    assert neck.strides == strides
    assert [level.shape for level in neck(MAPS)] == [(1, 8, 64 // stride, 96 // stride) for stride in strides]


def test_the_head_leaves_finer_levels_to_the_decoder():
    pyramid = [torch.randn(1, 8, 64 // stride, 96 // stride) for stride in STRIDES]
    head = DenseHead(width=8, strides=STRIDES, num_classes=2, finest_stride=16)
    dense, locations = head(pyramid, (64, 96))
    assert locations.shapes == [(4, 6), (2, 3)] and dense.logits.shape == (1, 24 + 6, 2)
    same = DenseHead(width=8, strides=[16, 32], num_classes=2, finest_stride=16)
    same.load_state_dict(head.state_dict())
    alone, _ = same(pyramid[2:], (64, 96))
    assert torch.equal(alone.logits, dense.logits) and torch.equal(alone.boxes, dense.boxes)


def test_a_stride_that_is_not_there():
    with pytest.raises(InputError, match=r"neck.finest_stride is 2; the backbone's maps have strides \[4, 8"):
        FeaturePyramid(channels=[2, 3, 4, 5], strides=STRIDES, width=8, finest_stride=2)
    with pytest.raises(InputError, match=r"proposals.finest_stride is 4; the pyramid has strides \[8, 16"):
        DenseHead(width=8, strides=[8, 16, 32], num_classes=2, finest_stride=4)


@pytest.mark.parametrize("width", [100, 4, 0, -8])
def test_a_width_that_the_head_cannot_normalise(width):
    with pytest.raises(InputError, match=f"neck.width is {width}; it must be a multiple of 8, 8 at least"):
        FeaturePyramid(channels=[2, 3, 4, 5], strides=STRIDES, width=width)
