"""The contract of every way of reading."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from detector.errors import InputError


class Reading(nn.Module):
    """Turns images into sequences, of which a step reads one piece. A way of reading is a subclass with `pieces`.

    In shapes: B images, K channels, H rows and W columns, T steps, D features a step.

    Args:
        canvas: (width, height) of the images in pixels.
        channels: of the images.
        places: of each step, which part of the canvas it reads: `xyxy`, normalised to it.
        shuffle_seed: a number: the steps come in a random order that is the same for all images and all runs; None:
            as they are.

    Attributes:
        steps: T.
        places: in the order of the steps.
    """

    places: Float[Tensor, "T 4"]
    order: Int64[Tensor, "T"]

    def __init__(
        self, *, canvas: Sequence[int], channels: int, places: Float[Tensor, "T 4"], shuffle_seed: int | None = None
    ):
        super().__init__()
        self.shape = (channels, canvas[1], canvas[0])
        self.steps = len(places)
        order = torch.arange(self.steps)
        if shuffle_seed is not None:
            order = torch.randperm(self.steps, generator=torch.Generator().manual_seed(shuffle_seed))
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("places", places[order], persistent=False)

    @cached_property
    def features(self) -> int:
        """D."""
        training = self.training
        with torch.no_grad():  # in evaluation: this is no batch to update statistics with
            features = self.eval().pieces(torch.zeros(1, *self.shape, device=self.places.device)).shape[-1]
        self.train(training)
        return features

    def pieces(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B T D"]:
        """What each step reads, unshuffled."""
        raise NotImplementedError

    def forward(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B T D"]:
        """The sequence of each image.

        Raises:
            InputError: the images have another shape than this was made for.
        """
        if tuple(images.shape[1:]) != self.shape:
            found, expected = ("×".join(map(str, shape)) for shape in (images.shape[1:], self.shape))
            swapped = tuple(images.shape[1:]) == (self.shape[0], self.shape[2], self.shape[1])
            raise InputError(
                f"images of {found} (channels × rows × columns), expected {expected}"
                + ("; rows and columns are exchanged" if swapped else "")
            )
        return self.pieces(images)[:, self.order]


def strips(count: int, *, of_rows: bool) -> Float[Tensor, "T 4"]:
    """The canvas cut into equal horizontal strips, or vertical ones."""
    edges = torch.linspace(0, 1, count + 1)
    low, high, zero, one = edges[:-1], edges[1:], torch.zeros(count), torch.ones(count)
    return torch.stack([zero, low, one, high] if of_rows else [low, zero, high, one], 1)
