"""From predictions on the canvas to detections in pixels of the original images."""

from __future__ import annotations

import torch
from torchvision.ops import clip_boxes_to_image

from detector.types import Detections, Predictions


def write_out(predictions: Predictions, sizes: list[tuple[int, int]]) -> list[Detections]:
    """Every slot that writes, writes its best class and its box, in the order of the slots; nothing is suppressed.

    Args:
        predictions: the last pass of a decoder.
        sizes: original (height, width) of each image in pixels.
    """
    found = []
    for i, (height, width) in enumerate(sizes):
        scores, labels = predictions.logits[i].float().sigmoid().max(-1)
        boxes = predictions.boxes[i].float()
        pixels = clip_boxes_to_image(boxes * boxes.new_tensor([width, height, width, height]), (height, width))
        steps = torch.arange(len(scores), device=scores.device)
        every = Detections(pixels, scores, labels, steps)
        found.append(every if predictions.written is None else every[predictions.written[i]])
    return found

