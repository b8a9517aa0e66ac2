"""From predictions on the canvas to detections in pixels of the original images, with or without suppression."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from detector.detections import Detections
from detector.types import Predictions, StagePredictions

CANDIDATES = 1000
"""Best locations that suppression looks at."""
ROUNDS = 16
"""Of thinning, in a graph."""
NOTHING = -20.0
"""The logit of what is not there."""


def detections_of(predictions: StagePredictions, sizes: list[tuple[int, int]]) -> list[Detections]:
    """Every valid slot's best class and its box, in the order of the slots; nothing is suppressed.

    Args:
        predictions: of a decoder's last stage.
        sizes: original (height, width) of each image in pixels.
    """
    found = []
    for i, (height, width) in enumerate(sizes):
        scores, labels = predictions.logits[i].float().sigmoid().max(-1)
        boxes = predictions.boxes[i].float()
        pixels = clip_boxes_to_image(boxes * boxes.new_tensor([width, height, width, height]), (height, width))
        steps = torch.arange(len(scores), device=scores.device)
        every = Detections(pixels, scores, labels, steps)
        found.append(every if predictions.valid is None else every[predictions.valid[i]])
    return found


@torch.no_grad()
def suppress(
    dense: Predictions, *, threshold: float, slots: int = 100, soft_sigma: float | None = None
) -> StagePredictions:
    """Non-maximum suppression within each class.

    Args:
        dense: predictions of every location.
        threshold: of two boxes of a class with a larger IoU, the one of lower score goes.
        slots: boxes kept, by descending score.
        soft_sigma: a number in place of the threshold: the box of lower score stays, its score times exp(−IoU² / σ)
            (soft-NMS, Bodla et al. 2017, equation 3).

    Returns:
        `slots` boxes; those that are not `valid` fill up, empty and with the logits `NOTHING`.
    """
    found = candidates(dense)
    valid = torch.zeros(len(found.boxes), slots, dtype=torch.bool, device=found.boxes.device)
    index = torch.zeros_like(valid, dtype=torch.int64)
    scores, labels = found.logits.sigmoid().max(-1)
    for image, (boxes, own, label) in enumerate(zip(found.boxes, scores, labels) if slots else ()):
        if soft_sigma is None:
            kept = batched_nms(boxes, own, label, threshold)[:slots]
        else:
            kept, decayed = soft_nms(boxes, own, label, sigma=soft_sigma, keep=slots)
            found.logits[image, kept] += (torch.logit(decayed, eps=1e-6) - torch.logit(own[kept], eps=1e-6))[:, None]
        index[image, : len(kept)] = kept
        valid[image, : len(kept)] = True
    kept = found.gather(index)
    empty = ~valid.unsqueeze(-1)
    return StagePredictions(kept.logits.masked_fill(empty, NOTHING), kept.boxes.masked_fill(empty, 0), valid=valid)


@torch.no_grad()
def thin(predictions: Predictions, *, above: float, slots: int) -> StagePredictions:
    """Leave out boxes that are all but equal to a better one of their class, for all images at once.

    This is non-maximum suppression as an iteration that comes to rest at its result (Cluster-NMS, Zheng et al. 2020):
    a box goes that a better one overlaps by more than `above`, unless that one goes itself. A graph that is
    exported or traced holds `ROUNDS` of it, enough for chains of so many boxes.

    Args:
        predictions: those that have the logits `NOTHING` are left out.
        above: an IoU.
        slots: boxes kept, by descending score; those that are not `valid` fill up.
    """
    boxes = predictions.boxes.clamp(0, 1)
    scores, labels = predictions.logits.max(-1)  # B K
    iou = torch.stack([box_iou(one, one) for one in boxes])  # B K K
    earlier = torch.ones_like(iou, dtype=torch.bool).tril(-1)
    row, column = scores.unsqueeze(2), scores.unsqueeze(1)
    better = (column > row) | (column == row) & earlier  # the box of the column than that of the row
    again = (iou > above) & better & (labels.unsqueeze(2) == labels.unsqueeze(1))
    fixed = torch.compiler.is_exporting() or torch.jit.is_tracing()
    goes = torch.zeros_like(labels, dtype=torch.bool)  # B K
    for _ in range(ROUNDS if fixed else scores.shape[1]):
        before, goes = goes, (again & ~goes.unsqueeze(1)).any(2)
        if not fixed and torch.equal(before, goes):
            break
    scores, index = scores.masked_fill(goes, NOTHING).topk(min(slots, scores.shape[1]))
    kept, valid = Predictions(predictions.logits, boxes).gather(index), scores > NOTHING
    empty = ~valid.unsqueeze(-1)
    return StagePredictions(kept.logits.masked_fill(empty, NOTHING), kept.boxes.masked_fill(empty, 0), valid=valid)


def candidates(dense: Predictions) -> Predictions:
    """The locations of the highest scores, descending, as many as suppression looks at, clipped to the canvas."""
    found = dense.gather(dense.logits.amax(-1).topk(min(CANDIDATES, dense.logits.shape[1]), dim=1).indices)
    return Predictions(found.logits, found.boxes.clamp(0, 1))


def soft_nms(
    boxes: Float[Tensor, "N 4"], scores: Float[Tensor, "N"], labels: Int64[Tensor, "N"], *, sigma: float, keep: int
) -> tuple[Int64[Tensor, "K"], Float[Tensor, "K"]]:
    """Gaussian soft-NMS within each class.

    Returns:
        The first `keep` boxes in the order of their decayed scores, and those scores.
    """
    scores = scores.clone()
    kept, final = [], []
    for _ in range(min(keep, len(scores))):
        best = scores.argmax()
        kept.append(best)
        final.append(scores[best].clone())
        # of all boxes with all it would take four times as long; of two without area it is no number
        iou = box_iou(boxes[best].unsqueeze(0), boxes)[0].nan_to_num(0.0)
        scores *= torch.where(labels == labels[best], torch.exp(-(iou**2) / sigma), 1.0)
        scores[best] = -1.0
    return torch.stack(kept), torch.stack(final)
