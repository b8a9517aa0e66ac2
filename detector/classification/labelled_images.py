"""A batch of the classification task."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass
class LabelledImages:
    """Images as the network sees them, and their classes. In shapes: B images, K channels, H rows and W columns."""

    images: Float[Tensor, "B K H W"]
    labels: Int64[Tensor, "B"]
    """0 … C - 1."""
    image_ids: list[int]

    def to(self, *args, **kwargs) -> LabelledImages:
        return LabelledImages(self.images.to(*args, **kwargs), self.labels.to(*args, **kwargs), self.image_ids)

    def __len__(self) -> int:
        return len(self.image_ids)
