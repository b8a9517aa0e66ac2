"""The values that travel between the parts.

Letters in shapes: B images, L locations of the dense head, Q slots (steps of the sequence), N objects of one
image, M matched pairs, C classes, D channels, H and W rows and columns.

Boxes are `xyxy` and normalised to the canvas (0 … 1) everywhere inside; `Detections` alone are in original pixels.
Labels are 0 … C-1, without a background class.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
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
    """One box and C class logits for each of Q places: slots of a decoder's pass, or locations of the dense head."""

    logits: Float[Tensor, "B Q C"]
    boxes: Float[Tensor, "B Q 4"]
    written: Bool[Tensor, "B Q"] | None = None
    """Which slots write at all; None: every one."""
    stop: Float[Tensor, "B Q"] | None = None
    """Of a decoder that ends by itself: the logit that nothing is left to write at this step."""
    regions: Float[Tensor, "Q 4"] | None = None
    """Of a decoder with slots that answer only for objects centred in a part of the canvas: that part, `xyxy`."""
    looked: Float[Tensor, "B Q P 2"] | None = None
    """The places (x, y) that each step read, a square grid row by row, normalised to the canvas."""
    attention: Float[Tensor, "B Q L"] | None = None
    """Of a decoder that looks everywhere: how much each step did so at each location; they sum to 1."""
    draft: bool = False
    """Whether they may name an object several times, as a later pass chooses among them."""
    weight: float = 1.0
    """Of its losses: the lists that a decoder is given side by side in training share the weight of one."""
    losses: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    """What the decoder asks of itself while it is trained, beyond what the set loss does."""

    def detach(self) -> Predictions:
        return Predictions(self.logits.detach(), self.boxes.detach())

    def gather(self, index: Int64[Tensor, "B K"]) -> Predictions:
        """The places `index` of every image, in that order."""
        return Predictions(*(
            values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
            for values in (self.logits, self.boxes)
        ))


@dataclass
class Locations:
    """Where the dense head looks: the centre of every cell of its levels of the pyramid, level after level."""

    centres: Float[Tensor, "L 2"]
    """(x, y), normalised to the canvas; the last row or column can lie just beyond 1."""
    strides: Float[Tensor, "L 2"]
    """(x, y) side of a cell, normalised to the canvas."""
    shapes: list[tuple[int, int]]
    """(rows, columns) a level."""

    def inside(self, boxes: Float[Tensor, "N 4"]) -> Bool[Tensor, "N L"]:
        """Which locations lie in which box; for a box too small to hold any, the nearest of each level."""
        low, high = boxes[:, None, :2], boxes[:, None, 2:]
        inside = ((self.centres >= low) & (self.centres <= high)).all(-1)
        nearest = ((low + high) / 2 - self.centres).abs().le(self.strides / 2).all(-1)
        return inside | (~inside.any(1, keepdim=True) & nearest)


@dataclass
class Scene:
    """What a decoder may look at. Gradients reach the pyramid and nothing else."""

    pyramid: list[Float[Tensor, "B D _ _"]]
    """One map a level."""
    dense: Predictions
    """Of every location."""
    locations: Locations
    proposals: Predictions
    """The best locations, best first, as many as the decoder has slots."""
    canvas: tuple[int, int]
    """(height, width) in pixels."""

    def refuse_unread_levels(self) -> None:
        """For a decoder that looks where the dense head does and nowhere else.

        Raises:
            InputError: the pyramid has finer levels, which would be made and read by nobody.
        """
        unread = len(self.pyramid) - len(self.locations.shapes)
        if unread:
            raise InputError(
                f"neck.finest_stride makes {unread} level(s) finer than the dense head's, and this decoder looks only where "
                "the dense head does: pass the same for proposals.finest_stride, or leave neck.finest_stride alone"
            )


@dataclass
class Output:
    """What the detector computes for a batch."""

    scene: Scene
    dense: Predictions
    """Of every location, with its gradients."""
    passes: list[Predictions]
    """Of the decoder; the last one is the result."""


@dataclass
class Assignment:
    """Which slots answer for which objects in one image: pairs, each slot and each object at most once."""

    slots: Int64[Tensor, "M"]
    objects: Int64[Tensor, "M"]


@dataclass
class Detections:
    """What was found in one image, in the order in which it was written."""

    boxes: Float[Tensor, "N 4"]
    """`xyxy` in pixels of the original image."""
    scores: Float[Tensor, "N"]
    labels: Int64[Tensor, "N"]
    steps: Int64[Tensor, "N"]
    """The step of the sequence that wrote the box, from 0."""
    names: list[str] = field(default_factory=list)
    """Class names, where they are known."""

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: Bool[Tensor, "N"] | Int64[Tensor, "K"]) -> Detections:
        index = torch.arange(len(self), device=self.scores.device)[keep]
        names = [self.names[i] for i in index.tolist()] if self.names else []
        return Detections(self.boxes[index], self.scores[index], self.labels[index], self.steps[index], names)

    def cpu(self) -> Detections:
        return Detections(self.boxes.cpu(), self.scores.cpu(), self.labels.cpu(), self.steps.cpu(), self.names)

    def to_supervision(self):
        """The same as `supervision.Detections`, to draw, track or count with that library; class names and steps are in
        its `data`.

        Raises:
            InputError: it is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise InputError("supervision is not installed; pip install --editable '.[supervision]'") from error
        data = {"step": self.steps.cpu().numpy()}
        if self.names:
            data["class_name"] = np.array(self.names)
        return supervision.Detections(
            xyxy=self.boxes.float().cpu().numpy(), confidence=self.scores.float().cpu().numpy(),
            class_id=self.labels.cpu().numpy(), data=data,
        )
