"""torchvision's whole FCOS around a head of ours, on given maps."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator

from detector.proposals.fcos import FCOS as OurFCOS

CANVAS = (96, 128)
STRIDES = [8, 16, 32]


class Given(nn.Module):
    """In place of a backbone: the same maps for any images."""

    def __init__(self, maps: list[Tensor]):
        super().__init__()
        self.maps, self.out_channels = maps, maps[0].shape[1]

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        assert images.shape[-2:] == CANVAS  # it has not resized or padded them
        return OrderedDict((str(level), features) for level, features in enumerate(self.maps))


def our_fcos(**options) -> OurFCOS:
    """Three classes; scores all over the scale, and boxes of a few cells."""
    torch.manual_seed(0)
    made = OurFCOS(width=32, strides=STRIDES, num_classes=3, **options)
    outputs = made.head.classification_head.cls_logits, made.head.regression_head.bbox_ctrness
    for output in outputs:
        nn.init.normal_(output.weight, std=0.2)
        nn.init.zeros_(output.bias)
    nn.init.normal_(made.head.regression_head.bbox_reg.weight, std=0.1)
    nn.init.constant_(made.head.regression_head.bbox_reg.bias, 2.0)
    return made


def some_maps(images: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, 32, CANVAS[0] // s, CANVAS[1] // s, generator=generator) for s in STRIDES]


def torchvision_fcos(ours: OurFCOS, maps: list[Tensor]) -> FCOS:
    """With the weights of ours, with locations in the middle of cells as ours are, and without any suppression."""
    cells = AnchorGenerator(tuple((stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES))
    cells.cell_anchors = [cell + stride / 2 for cell, stride in zip(cells.cell_anchors, STRIDES)]
    return FCOS(
        Given(maps), num_classes=3, min_size=CANVAS[0], max_size=CANVAS[1], anchor_generator=cells, head=ours.head,
        score_thresh=0.0, nms_thresh=1.0, detections_per_img=10**6, topk_candidates=10**6,
    )
