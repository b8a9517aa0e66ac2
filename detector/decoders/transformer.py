"""A decoder that reads the proposals by self-attention, as the RT-DETR family does."""

from __future__ import annotations

from torch import nn

from detector.decoders.list_reader import ListReader


class Transformer(ListReader):
    """Every proposal attends to all of them, with as many parameters as the LSTM of the same size.

    Args:
        hidden_size: H, of what is read.
        layers: of self-attention (4 H² weights) and a feed-forward network over 2 H units (4 H²): 8 H² weights, as in a
            layer of an LSTM. Normalised before each, as in RT-DETR's decoder (Zhao et al. 2024) without its
            cross-attention, whose part reading under the boxes plays.
        heads: of the attention.
        dropout: on what is read and within layers.
        reading: further arguments of `ListReader`.
    """

    def __init__(self, *, hidden_size: int, layers: int, heads: int, dropout: float, **reading):
        def memory() -> nn.Module:
            layer = nn.TransformerEncoderLayer(
                hidden_size, heads, 2 * hidden_size, dropout, batch_first=True, norm_first=True
            )
            return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

        super().__init__(memory=memory, hidden_size=hidden_size, dropout=dropout, **reading)
