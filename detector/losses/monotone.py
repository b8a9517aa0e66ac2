"""Confidence that falls along the sequence."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from detector.types import Predictions


def monotone_loss(predictions: Predictions) -> Float[Tensor, ""]:
    """What the score of a slot is above that of the slot before it, summed; the first slot of a region is free."""
    scores = predictions.logits.sigmoid().amax(-1)
    rise = (scores[:, 1:] - scores[:, :-1]).clamp(min=0)
    if predictions.regions is not None:
        rise = rise * (predictions.regions[1:] == predictions.regions[:-1]).all(-1)
    return rise.sum()
