"""Patch by patch, along a spiral."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from detector.classification.reads.reading import Reading
from detector.errors import InputError


class Spiral(Reading):
    """A step reads a square patch, along a spiral that starts at the top left, runs clockwise and ends in the middle.

    Args:
        canvas, channels, shuffle_seed: see `Reading`.
        patch: side of a patch in pixels; D = K · patch².
        outwards: whether it runs from the middle to the top left instead.

    Raises:
        InputError: the canvas is no whole number of patches.
    """

    def __init__(
        self, *, canvas: Sequence[int], channels: int, patch: int, outwards: bool = False,
        shuffle_seed: int | None = None,
    ):
        width, height = canvas
        if patch < 1 or width % patch or height % patch:
            raise InputError(
                f"reads.patch is {patch}: a canvas of {width}×{height} pixels is no whole number of such patches; give "
                "a divisor of both sides, or another data.canvas"
            )
        rows, columns = height // patch, width // patch
        path = spiral(rows, columns)
        path = path[::-1] if outwards else path
        places = torch.tensor(
            [[x / columns, y / rows, (x + 1) / columns, (y + 1) / rows] for y, x in path], dtype=torch.float32
        )
        self.patch, self.path = patch, [y * columns + x for y, x in path]
        super().__init__(canvas=canvas, channels=channels, places=places, shuffle_seed=shuffle_seed)

    def pieces(self, images: Float[Tensor, "B K H W"]) -> Float[Tensor, "B T D"]:
        patches = functional.unfold(images, self.patch, stride=self.patch)  # B D T, row by row
        return patches.transpose(1, 2)[:, self.path]


def spiral(rows: int, columns: int) -> list[tuple[int, int]]:
    """The cells (row, column) of a grid from the top left clockwise inwards."""
    cells = [[(row, column) for column in range(columns)] for row in range(rows)]
    path: list[tuple[int, int]] = []
    while cells:
        path += cells.pop(0)
        cells = [list(row) for row in zip(*cells)][::-1]  # turned, so that what comes next lies on top
    return path
