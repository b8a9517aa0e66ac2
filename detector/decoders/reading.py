"""What a decoder sees of a box, and what it writes about it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert

from detector.decoders.sampling import sample_under_boxes
from detector.types import Predictions, Scene


class Reading(nn.Module):
    """The features under a box, the box and its class scores, as one vector.

    Args:
        width, strides: of the pyramid.
        num_classes: C.
        hidden_size: H, of the vector.
        dropout: on the vector.
        points: the box is read at `points` × `points` places of every level.
        notes: further values that are known of a box.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, dropout: float, points: int,
        notes: int = 0,
    ):
        super().__init__()
        self.strides, self.points = list(strides), points
        self.features = nn.Linear(len(strides) * points**2 * width, hidden_size)
        self.proposal = nn.Linear(4 + num_classes + notes, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, scene: Scene, proposals: Predictions, *, notes: Float[Tensor, "B Q K"] | None = None,
        state: Float[Tensor, "B Q H"] | None = None,
    ) -> Float[Tensor, "B Q H"]:
        """Read every proposal.

        Args:
            scene: where from.
            proposals: what to read.
            notes: the further values.
            state: what was thought of the same proposals before; it is added.
        """
        sampled = sample_under_boxes(
            scene.pyramid, proposals.boxes, strides=self.strides, canvas=scene.canvas, points=self.points
        )
        known = [reference(proposals), proposals.logits.sigmoid()] + ([] if notes is None else [notes])
        read = self.features(sampled) + self.proposal(torch.cat(known, -1))
        return self.dropout(self.norm(read if state is None else read + state).relu())


class Writing(nn.Module):
    """Boxes and class scores as corrections of those that were read.

    At the start of training the corrections are nearly zero: what is written is as good as what was proposed.

    Args:
        hidden_size: H.
        num_classes: C.
        writes: boxes written for each one read. The further ones start with scores a tenth as high.
    """

    def __init__(self, *, hidden_size: int, num_classes: int, writes: int = 1):
        super().__init__()
        self.writes = writes
        self.classes = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, writes * num_classes)
        )
        self.box = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, writes * 4))
        for output in (self.classes[-1], self.box[-1]):
            nn.init.normal_(output.weight, std=1e-3)
            nn.init.zeros_(output.bias)
        nn.init.constant_(self.classes[-1].bias[num_classes:], -2.3)

    def forward(self, state: Float[Tensor, "B Q H"], read: Predictions) -> Predictions:
        """Correct what was read; the boxes written for one proposal follow each other."""
        box = self.box(state).float().unflatten(-1, (self.writes, -1))
        logits = self._logits(state, read.logits)
        boxes = (reference(read).unsqueeze(2) + box).sigmoid()
        return Predictions(logits.flatten(1, 2), box_convert(boxes, "cxcywh", "xyxy").flatten(1, 2))

    def scores(self, state: Float[Tensor, "B Q H"], logits: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q2 C"]:
        """What scores are written where `logits` were read."""
        return self._logits(state, logits).flatten(1, 2).sigmoid()

    def _logits(self, state: Float[Tensor, "B Q H"], read: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q W C"]:
        return read.unsqueeze(2) + self.classes(state).float().unflatten(-1, (self.writes, -1))


def reference(predictions: Predictions) -> Float[Tensor, "B Q 4"]:
    """Boxes as the logits of their centre, width and height: the space in which they are corrected."""
    return torch.logit(box_convert(predictions.boxes, "xyxy", "cxcywh"), eps=1e-3)
