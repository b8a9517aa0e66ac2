"""The whole network: what reads and what names."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from detector.classification.models.sequence_classifier import SequenceClassifier
from detector.classification.reads.reading import Reading


class Classifier(nn.Module):
    """Reads images piece by piece and says what they show.

    Args:
        reads: images to sequences.
        model: sequences to class logits.
    """

    def __init__(self, reads: Reading, model: SequenceClassifier):
        super().__init__()
        self.reads, self.model = reads, model

    def forward(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B C"]:
        """The logits of the classes after the last step."""
        return self.model(self.reads(images))

    def beliefs(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B T C"]:
        """The logits if reading stopped at each step; the last ones are those of `forward`."""
        return self.model.beliefs(self.reads(images))
