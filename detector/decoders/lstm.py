"""The default decoder: an LSTM that reads the ordered proposals and writes one box and class for each."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert

from detector.decoders.sampling import sample_under_boxes
from detector.types import Predictions


class LSTM(nn.Module):
    """Reads the proposals best first; its memory tells it what it has already written.

    At each step it sees the features under a proposal, its box and its class scores, and writes a box, as a correction
    of the proposal's, and class scores, as a correction of the proposal's: a proposal that shows an object written
    before is to be answered with low scores, so that no non-maximum suppression is needed. Every further pass reads
    the same list again at the refined boxes.

    Args:
        width: channels of the pyramid.
        strides: of its levels, in pixels of the canvas.
        num_classes: C.
        hidden_size: of the LSTM and of what it reads.
        layers: stacked LSTM layers.
        dropout: on what the LSTM reads and between its layers.
        slots: proposals read, the length of the sequence.
        passes: times the list is read; each pass has weights of its own.
        points: a proposal is read at `points` × `points` places of every level.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, layers: int, dropout: float,
        slots: int, passes: int, points: int,
    ):
        super().__init__()
        self.slots = slots
        self.passes = nn.ModuleList(
            LSTMPass(
                width=width, strides=strides, num_classes=num_classes, hidden_size=hidden_size, layers=layers,
                dropout=dropout, points=points,
            )
            for _ in range(passes)
        )

    def forward(
        self, pyramid: list[Float[Tensor, "B D _ _"]], proposals: Predictions, canvas: tuple[int, int]
    ) -> list[Predictions]:
        written = []
        memory: Tensor | float = 0.0
        for one_pass in self.passes:
            proposals, memory = one_pass(pyramid, proposals.detach(), memory, canvas)
            written.append(proposals)
        return written


class LSTMPass(nn.Module):
    """One reading of the list; arguments as in `LSTM`."""

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, layers: int, dropout: float,
        points: int,
    ):
        super().__init__()
        self.strides = list(strides)
        self.points = points
        self.read_features = nn.Linear(len(strides) * points**2 * width, hidden_size)
        self.read_proposal = nn.Linear(4 + num_classes, hidden_size)
        self.input_norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(
            hidden_size, hidden_size, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.output_norm = nn.LayerNorm(hidden_size)
        self.write_class = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, num_classes)
        )
        self.write_box = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 4))
        for output in (self.write_class[-1], self.write_box[-1]):  # start at the proposals' own quality
            nn.init.normal_(output.weight, std=1e-3)
            nn.init.zeros_(output.bias)

    def forward(
        self, pyramid: list[Tensor], proposals: Predictions, memory: Float[Tensor, "B Q H"] | float,
        canvas: tuple[int, int],
    ) -> tuple[Predictions, Float[Tensor, "B Q H"]]:
        features = sample_under_boxes(
            pyramid, proposals.boxes, strides=self.strides, canvas=canvas, points=self.points
        )
        reference = torch.logit(box_convert(proposals.boxes, "xyxy", "cxcywh"), eps=1e-3)
        seen = torch.cat([reference, proposals.logits.sigmoid()], -1)
        read = self.dropout(
            self.input_norm(self.read_features(features) + self.read_proposal(seen) + memory).relu()
        )
        memory = self.output_norm(read + self.lstm(read)[0])
        boxes = (reference + self.write_box(memory).float()).sigmoid()
        return Predictions(
            proposals.logits + self.write_class(memory).float(), box_convert(boxes, "cxcywh", "xyxy")
        ), memory
