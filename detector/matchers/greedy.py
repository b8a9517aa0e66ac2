"""The assignment by which average precision is measured."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

from detector.evaluation.greedy import THRESHOLDS, match
from detector.matchers.hungarian import Matcher, Pairs


class Greedy(Matcher):
    """COCO's rule: by descending score a slot takes the object of its class that it overlaps most among those not taken
    yet, if by an IoU threshold; at each of the ten thresholds by itself.

    The class target of a slot is the share of the thresholds at which it takes an object: of several boxes of an object
    that of the highest score answers for the thresholds that it reaches, the next for those that it alone reaches, and
    one that reaches no more is background. The slot answers for what it takes at the lowest threshold, so that an
    object can be answered for by several slots, and one that no box overlaps by .5 by none.

    For decoders whose boxes come from elsewhere: it teaches scores, and no box that is still poor.
    """

    def assign(
        self, logits: Float[Tensor, "Q C"], boxes: Float[Tensor, "Q 4"], labels: Int64[Tensor, "N"],
        ground_truth: Float[Tensor, "N 4"],
    ) -> Pairs:
        if not (logits.isfinite().all() and boxes.isfinite().all()):
            raise FloatingPointError
        scores, own = logits.sigmoid().max(-1)
        overlap = box_iou(boxes, ground_truth) * (own.unsqueeze(1) == labels)  # Q N
        near = (overlap >= THRESHOLDS[0] - 1e-6).any(1).nonzero().squeeze(1)  # no other can take one
        nothing = labels.new_zeros(len(labels), dtype=torch.bool)
        matched = torch.from_numpy(match(*(part.cpu().numpy() for part in (
            own[near], scores[near], boxes[near].double(), labels, ground_truth.double(), nothing, nothing
        )))).to(near.device)  # D T
        taken = matched >= 0
        quality, first = taken.float().mean(1), taken.int().argmax(1, keepdim=True)
        some = quality > 0
        return near[some], matched.gather(1, first).squeeze(1)[some], quality[some]
