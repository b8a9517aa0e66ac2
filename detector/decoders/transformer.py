"""A decoder with self-attention among the proposals, as the RT-DETR family has it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from detector.decoders.pairwise_geometry import PairwiseGeometry
from detector.decoders.sequence_decoder import SequenceDecoder, iou_with_earlier
from detector.types import StagePredictions

NEVER = -1e4
"""Of what is not attended to; finite, for images without any proposal."""


class Transformer(SequenceDecoder):
    """Every proposal attends to all valid ones, with as many parameters as the LSTM of the same size, but for those of
    the geometry.

    Args:
        hidden_size: H, of region features.
        layers: of self-attention (4 H² weights) and a feed-forward network over 2 H units (4 H²): 8 H² weights, as in a
            layer of an LSTM. Normalised before each, as in RT-DETR's decoder (Zhao et al. 2024) without its
            cross-attention, whose part the region features play.
        heads: of the attention.
        geometry: whether attention also depends on how the boxes lie to one another (`PairwiseGeometry`).
        dropout: on region features and within layers.
        options: further arguments of `SequenceDecoder`.
    """

    def __init__(self, *, hidden_size: int, layers: int, heads: int, geometry: bool, dropout: float, **options):
        layer = nn.TransformerEncoderLayer(  # with ReLU or GELU PyTorch takes a bias for a mask in evaluation
            hidden_size, heads, 2 * hidden_size, dropout, nn.functional.silu, batch_first=True, norm_first=True
        )
        model = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        super().__init__(sequence_model=model, hidden_size=hidden_size, dropout=dropout, **options)
        self.heads, self.geometry = heads, PairwiseGeometry(heads) if geometry else None

    def _at_once(self, features: Float[Tensor, "B Q H"], proposals: StagePredictions) -> Float[Tensor, "B Q H"]:
        images, slots = features.shape[:2]
        bias = features.new_zeros(images, self.heads, slots, slots)
        if self.geometry is not None:
            bias = self.geometry(proposals.boxes, iou_with_earlier(proposals))
        if proposals.valid is not None:
            bias = bias.masked_fill(~proposals.valid[:, None, None], NEVER)
        return self.norm(features + self.sequence_model(features, bias.flatten(0, 1)))
