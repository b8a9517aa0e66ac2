"""What was found in a picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from detector.errors import InputError


@dataclass
class Detections:
    """What was found in one image, in the order of the sequence."""

    boxes: Float[Tensor, "N 4"]
    """`xyxy` in pixels of the original image."""
    scores: Float[Tensor, "N"]
    labels: Int64[Tensor, "N"]
    steps: Int64[Tensor, "N"]
    """The step of the sequence that predicted the box, from 0."""
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
        data: dict[str, np.ndarray | list] = {"step": self.steps.cpu().numpy()}
        if self.names:
            data["class_name"] = np.array(self.names)
        return supervision.Detections(
            xyxy=self.boxes.float().cpu().numpy(), confidence=self.scores.float().cpu().numpy(),
            class_id=self.labels.cpu().numpy(), data=data,
        )
