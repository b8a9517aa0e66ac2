"""A decoder without recurrent state: what every claim about recurrence must beat."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from detector.decoders.feed_forward import FeedForward
from detector.decoders.sequence_decoder import SequenceDecoder


class MLP(SequenceDecoder):
    """Sees every proposal by itself, with as many parameters as the LSTM of the same size.

    Args:
        hidden_size: H, of region features.
        layers: of two linear maps each, over 4 H units: 8 H² weights, as in a layer of an LSTM.
        dropout: on region features and within layers.
        options: further arguments of `SequenceDecoder`.
    """

    def __init__(self, *, hidden_size: int, layers: int, dropout: float, **options):
        model = FeedForwardStack(*(FeedForward(hidden_size, dropout) for _ in range(layers)))
        super().__init__(sequence_model=model, hidden_size=hidden_size, dropout=dropout, **options)


class FeedForwardStack(nn.Sequential):
    """Layers in the place of a recurrent network: slot by slot they know the feedback they are given, and no more."""

    causal = True

    def step(self, features: Float[Tensor, "B S H"], state: None) -> tuple[Float[Tensor, "B S H"], None]:
        return self(features), None
