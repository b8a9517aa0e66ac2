"""The whole network: what reads and what names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from detector.classification.models.sequence_classifier import SequenceClassifier
from detector.classification.reads.reading import Reading


class Classifier(nn.Module):
    """Reads images piece by piece and says what they show.

    Args:
        reads: images to sequences.
        model: sequences to class logits.
        standardised: whether each channel is standardised by mean and deviation of training images (`measure`). A
            recurrent network learns next to nothing of bright images as they are: what all rows have in common, far
            from 0, drives its gates.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, reads: Reading, model: SequenceClassifier, *, standardised: bool = False):
        super().__init__()
        self.reads, self.model, self.standardised = reads, model, standardised
        if standardised:
            self.register_buffer("mean", torch.zeros(reads.shape[0], 1, 1))
            self.register_buffer("std", torch.ones(reads.shape[0], 1, 1))

    def measure(self, images: Float[Tensor, "B K H W"]) -> None:
        """Take mean and deviation of each channel from these images."""
        self.mean.copy_(images.mean((0, 2, 3)).view_as(self.mean))
        self.std.copy_(images.std((0, 2, 3)).clamp(min=1e-3).view_as(self.std))

    def sequence(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B T D"]:
        """What the model is given."""
        return self.reads((images - self.mean) / self.std if self.standardised else images)

    def forward(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B C"]:
        """The logits of the classes after the last step."""
        return self.model(self.sequence(images))

    def beliefs(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B T C"]:
        """The logits if reading stopped at each step; the last ones are those of `forward`."""
        return self.model.beliefs(self.sequence(images))
