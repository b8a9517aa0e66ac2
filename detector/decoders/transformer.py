"""A decoder with self-attention among the proposals, as the RT-DETR family has it."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from detector.decoders.sequence_decoder import SequenceDecoder


class Transformer(SequenceDecoder):
    """Every proposal attends to all valid ones, with as many parameters as the LSTM of the same size.

    Args:
        hidden_size: H, of region features.
        layers: of self-attention (4 H² weights) and a feed-forward network over 2 H units (4 H²): 8 H² weights, as in a
            layer of an LSTM. Normalised before each, as in RT-DETR's decoder (Zhao et al. 2024) without its
            cross-attention, whose part the region features play.
        heads: of the attention.
        dropout: on region features and within layers.
        options: further arguments of `SequenceDecoder`.
    """

    def __init__(self, *, hidden_size: int, layers: int, heads: int, dropout: float, **options):
        layer = nn.TransformerEncoderLayer(
            hidden_size, heads, 2 * hidden_size, dropout, batch_first=True, norm_first=True
        )
        model = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        super().__init__(sequence_model=model, hidden_size=hidden_size, dropout=dropout, **options)

    def _at_once(
        self, features: Float[Tensor, "B Q H"], valid: Bool[Tensor, "B Q"] | None
    ) -> Float[Tensor, "B Q H"]:
        not_attended_to = None if valid is None else ~valid
        return self.norm(features + self.sequence_model(features, src_key_padding_mask=not_attended_to))
