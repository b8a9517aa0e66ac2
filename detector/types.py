"""The values that travel between the parts.

Letters in shapes: B images, L locations of the dense head, Q slots (steps of the sequence), N objects of one
image, M matched pairs, C classes, D channels, H and W rows and columns.

Boxes are `xyxy` and normalised to the canvas (0 … 1) everywhere inside; `Detections` alone are in original pixels.
Labels are 0 … C-1, without a background class.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from detector.errors import InputError


@dataclass
class Target:
    """The objects of one image."""

    boxes: Float[Tensor, "N 4"]
    labels: Int64[Tensor, "N"]
    image_id: int
    size: tuple[int, int]
    """Original (height, width) in pixels."""

    def to(self, *args, **kwargs) -> Target:
        return Target(self.boxes.to(*args, **kwargs), self.labels.to(*args, **kwargs), self.image_id, self.size)


@dataclass
class Batch:
    """Images on the canvas, as bytes, and their targets."""

    images: UInt8[Tensor, "B 3 H W"]
    targets: list[Target]

    def to(self, *args, **kwargs) -> Batch:
        return Batch(self.images.to(*args, **kwargs), [target.to(*args, **kwargs) for target in self.targets])

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Predictions:
    """One box and C class logits for each of Q slots or locations."""

    logits: Float[Tensor, "B Q C"]
    boxes: Float[Tensor, "B Q 4"]

    def detach(self) -> Predictions:
        return Predictions(self.logits.detach(), self.boxes.detach())

    def gather(self, index: Int64[Tensor, "B K"]) -> Predictions:
        """Those at `index` of every image, in that order."""
        return Predictions(*(
            values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
            for values in (self.logits, self.boxes)
        ))


@dataclass
class FCOSPredictions(Predictions):
    """Of torchvision's FCOS, with what its own loss compares."""

    outputs: dict[str, Float[Tensor, "B Q _"]]
    """Of its head: `cls_logits` (C), `bbox_regression` (4: how far the left, top, right and bottom edge lie from the
    location, in cells), `bbox_ctrness` (1: the logit of centre-ness)."""
    canvas: tuple[int, int]
    """(height, width) in pixels."""


@dataclass
class StagePredictions(Predictions):
    """Of a decoder's stage, with what only some decoders say of theirs."""

    one_to_many: bool = False
    """Whether several slots may predict one object, as a later stage chooses among them."""
    valid: Bool[Tensor, "B Q"] | None = None
    """Which slots predict at all; None: every one."""
    stop: Float[Tensor, "B Q"] | None = None
    """Of a decoder that ends by itself: the logit that no object is left at this slot."""
    regions: Float[Tensor, "Q 4"] | None = None
    """Of a decoder whose slots answer only for objects centred in a part of the canvas: that part, `xyxy`."""
    sampled_points: Float[Tensor, "B Q P 2"] | None = None
    """Where (x, y) the region features of each slot come from, a square grid row by row, normalised to the canvas."""
    attention: Float[Tensor, "B Q L"] | None = None
    """Of a decoder that attends to every location: how much each slot does; they sum to 1."""
    losses: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    """What the decoder asks of itself while it is trained, beyond what the set loss does."""


@dataclass
class Locations:
    """Where the dense head looks: the centre of every cell of its levels of the pyramid, level after level."""

    centres: Float[Tensor, "L 2"]
    """(x, y), normalised to the canvas; the last row or column can lie just beyond 1."""
    strides: Float[Tensor, "L 2"]
    """(x, y) side of a cell, normalised to the canvas."""
    shapes: list[tuple[int, int]]
    """(rows, columns) a level."""

    def cells(self) -> Float[Tensor, "L 4"]:
        """The cells as boxes."""
        return torch.cat([self.centres - self.strides / 2, self.centres + self.strides / 2], -1)

    def inside(self, boxes: Float[Tensor, "N 4"]) -> Bool[Tensor, "N L"]:
        """Which locations lie in which box; for a box too small to hold any, the nearest of each level."""
        low, high = boxes[:, None, :2], boxes[:, None, 2:]
        inside = ((self.centres >= low) & (self.centres <= high)).all(-1)
        nearest = ((low + high) / 2 - self.centres).abs().le(self.strides / 2).all(-1)
        return inside | (~inside.any(1, keepdim=True) & nearest)


@dataclass
class Seen:
    """What backbone, neck and proposal head make of a batch of images."""

    pyramid: list[Float[Tensor, "B D _ _"]]
    """One map a level."""
    dense: Predictions
    """Of every location."""
    locations: Locations
    canvas: tuple[int, int]
    """(height, width) in pixels."""


@dataclass
class SeenBatch:
    """In place of a `Batch` where what comes before the decoder is frozen: images that it has seen already."""

    seen: Seen
    targets: list[Target]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass
class Scene:
    """What a decoder may look at. Gradients reach the pyramid and nothing else."""

    pyramid: list[Float[Tensor, "B D _ _"]]
    """One map a level."""
    dense: Predictions
    """Of every location."""
    locations: Locations
    proposals: StagePredictions
    """The best boxes by descending score, as many as the decoder has slots; which of them are valid."""
    canvas: tuple[int, int]
    """(height, width) in pixels."""

    def refuse_unread_levels(self) -> None:
        """For a decoder that looks where the dense head does and nowhere else.

        Raises:
            InputError: the pyramid has finer levels, which would be made and read by nobody.
        """
        if unread := len(self.pyramid) - len(self.locations.shapes):
            raise InputError(
                f"neck.finest_stride makes {unread} level(s) finer than the dense head's, and this decoder looks only "
                "where the dense head does: pass the same for proposals.finest_stride, or leave neck.finest_stride "
                "alone"
            )


@dataclass
class Output:
    """What the detector computes for a batch."""

    scene: Scene
    dense: Predictions
    """Of every location, with its gradients."""
    stages: list[StagePredictions]
    """Of the decoder; the last one is the result."""


@dataclass
class Assignment:
    """Which slots answer for which objects in one image: pairs, each slot at most once."""

    slots: Int64[Tensor, "M"]
    objects: Int64[Tensor, "M"]
    quality: Float[Tensor, "M"] | None = None
    """The class target of each slot, 0 … 1; None: the IoU of its box."""
