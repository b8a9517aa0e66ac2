"""From an image and its boxes in pixels to the canvas."""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer version

import albumentations
import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


class Transform:
    """Augments an image with its boxes, then stretches it to the canvas.

    Boxes are clipped to what is left of the image; one that keeps too little of itself is dropped.

    Args:
        canvas: (width, height) in pixels that the detector sees.
        transforms: of albumentations, in order.
        min_visibility: share of its area that a box must keep.
    """

    def __init__(
        self, *, canvas: tuple[int, int], min_visibility: float = 0.0,
        transforms: Sequence[albumentations.BasicTransform | albumentations.BaseCompose] = (),
    ):
        width, height = canvas
        self.canvas = (width, height)
        self.pipeline = albumentations.Compose(
            [*transforms, albumentations.Resize(height, width, interpolation=3)],  # 3: by area, no aliasing
            bbox_params=albumentations.BboxParams(
                "pascal_voc", label_fields=["index"], clip=True, filter_invalid_bboxes=True,
                min_visibility=min_visibility,
            ),
        )

    def __call__(
        self, image: UInt8[np.ndarray, "H W 3"], boxes: Float[np.ndarray, "N 4"], labels: Int64[np.ndarray, "N"], *,
        seed: int,
    ) -> tuple[UInt8[Tensor, "3 h w"], Float[Tensor, "n 4"], Int64[Tensor, "n"]]:
        """The canvas, the boxes left normalised to it, and their labels; equal seeds choose equally."""
        self.pipeline.set_random_seed(seed)
        made = self.pipeline(image=image, bboxes=boxes, index=np.arange(len(boxes)))
        left = np.asarray(made["index"], dtype=np.int64).reshape(-1)  # they come back as floats
        width, height = self.canvas
        pixels = np.asarray(made["bboxes"], dtype=np.float32).reshape(-1, 4)
        return (
            torch.from_numpy(np.ascontiguousarray(made["image"].transpose(2, 0, 1))),
            torch.from_numpy(pixels / np.array([width, height, width, height], dtype=np.float32)),
            torch.from_numpy(labels[left]),
        )
