"""FCOS, as torchvision has it, in the place of the dense head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid
from torchvision.models.detection.fcos import FCOSHead

from detector.errors import InputError
from detector.proposals.proposal_head import ProposalHead
from detector.types import FCOSPredictions, Locations


class FCOS(ProposalHead):
    """torchvision's FCOS (Tian et al. 2019, section 3) on this project's pyramid; `FCOSLoss` trains it.

    A box is how far its four edges lie from the location, in cells (section 3.1; torchvision's cuts off what is below 0
    where the paper takes exponentials). A score is √(class · centre-ness), as torchvision ranks boxes: section 3.3 and,
    for the root, Tian et al. 2020. Locations are the centres of cells, as in the paper; torchvision takes corners.

    Args:
        width: channels of the pyramid, a multiple of 32: the head normalises in 32 groups.
        strides: of its levels, in pixels of the canvas.
        num_classes: C.
        finest_stride, depth, nms_threshold: see `ProposalHead`.

    Raises:
        InputError: an option or the width is out of range, or there is no level of `finest_stride`.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, finest_stride: int = 8, depth: int = 4,
        nms_threshold: float = 0.8,
    ):
        super().__init__(strides=strides, finest_stride=finest_stride, depth=depth, nms_threshold=nms_threshold)
        if width % 32:
            raise InputError(f"neck.width is {width}; for proposals=fcos it must be a multiple of 32")
        self.head = FCOSHead(width, num_anchors=1, num_classes=num_classes, num_convs=depth)

    def forward(
        self, pyramid: list[Float[Tensor, "B D _ _"]], canvas: tuple[int, int]
    ) -> tuple[FCOSPredictions, Locations]:
        """Score every location and draw a box from it; arguments as of `DenseHead`."""
        pyramid = pyramid[-len(self.strides) :]
        locations = self.locations(pyramid, canvas)
        outputs = {name: values.float() for name, values in self.head(pyramid).items()}
        boxes = self.head.box_coder.decode(outputs["bbox_regression"], locations.cells())
        log_score = (logsigmoid(outputs["cls_logits"]) + logsigmoid(outputs["bbox_ctrness"])) / 2
        log_score = log_score.clamp(max=-1e-30)  # a score of 1 has no logit
        logits = log_score - torch.log(-torch.expm1(log_score))
        return FCOSPredictions(logits, boxes, outputs, canvas), locations
