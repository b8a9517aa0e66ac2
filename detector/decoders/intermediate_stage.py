"""The stage of `lstm_pointer` that refines proposals before any is taken."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from detector.decoders.mlp import FeedForward
from detector.decoders.prediction_head import PredictionHead
from detector.decoders.region_features import RegionFeatures
from detector.types import Scene, StagePredictions


class IntermediateStage(nn.Module):
    """Corrects the box and the class scores of every proposal by itself, all at once, one-to-many.

    Args:
        width, strides, num_classes, hidden_size, dropout, points: as in `SequenceDecoder`.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, dropout: float, points: int
    ):
        super().__init__()
        self.region_features = RegionFeatures(
            width=width, strides=strides, num_classes=num_classes, hidden_size=hidden_size, dropout=dropout,
            points=points,
        )
        self.sequence_model = FeedForward(hidden_size, dropout)
        self.norm = nn.LayerNorm(hidden_size)
        self.prediction_head = PredictionHead(hidden_size=hidden_size, num_classes=num_classes)

    def forward(self, scene: Scene, proposals: StagePredictions) -> tuple[StagePredictions, Float[Tensor, "B Q H"]]:
        """The predictions for proposals, and the hidden vector of each."""
        features = self.region_features(scene, proposals)
        hidden = self.norm(features + self.sequence_model(features))
        predictions = self.prediction_head(hidden, proposals)
        predictions.one_to_many, predictions.valid = True, proposals.valid
        return predictions, hidden
