"""From predictions on the canvas to detections in pixels of the original images."""

from __future__ import annotations

import torch
from torchvision.ops import batched_nms, clip_boxes_to_image

from detector.types import Detections, Predictions


def write_out(predictions: Predictions, sizes: list[tuple[int, int]], *, threshold: float = 0.0) -> list[Detections]:
    """Every slot writes its best class and its box, in the order of the slots; nothing is suppressed.

    Args:
        predictions: the last pass of a decoder.
        sizes: original (height, width) of each image in pixels.
        threshold: slots that score less write nothing.
    """
    written = []
    for logits, boxes, (height, width) in zip(predictions.logits.float().sigmoid(), predictions.boxes.float(), sizes):
        scores, labels = logits.max(-1)
        pixels = clip_boxes_to_image(boxes * boxes.new_tensor([width, height, width, height]), (height, width))
        steps = torch.arange(len(scores), device=scores.device)
        written.append(Detections(pixels, scores, labels, steps)[scores >= threshold])
    return written


def suppress(
    dense: Predictions, sizes: list[tuple[int, int]], *, iou_threshold: float, candidates: int = 1000, keep: int = 100
) -> list[Detections]:
    """The reference without a decoder: the dense head's boxes, thinned by non-maximum suppression within each class.

    Args:
        dense: predictions of every location.
        sizes: original (height, width) of each image in pixels.
        iou_threshold: of two boxes of a class that overlap more, the worse one goes.
        candidates: best locations looked at.
        keep: detections kept, best first; `steps` is their rank.
    """
    best = dense.logits.amax(-1).topk(min(candidates, dense.logits.shape[1]), dim=1).indices
    kept = []
    for found in write_out(dense.gather(best), sizes):
        index = batched_nms(found.boxes, found.scores, found.labels, iou_threshold)[:keep]
        survivors = found[index]
        survivors.steps = torch.arange(len(survivors), device=survivors.scores.device)
        kept.append(survivors)
    return kept
