"""A layer that sees every slot by itself."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class FeedForward(nn.Module):
    """One layer, with a residual connection."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.layer = nn.Sequential(
            nn.Linear(size, 4 * size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * size, size)
        )

    def forward(self, features: Float[Tensor, "*S H"]) -> Float[Tensor, "*S H"]:
        return features + self.layer(features)
