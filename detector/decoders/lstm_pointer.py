"""A decoder that points at the next proposal, and stops by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torchvision.ops import box_iou

from detector.decoders.intermediate_stage import IntermediateStage
from detector.decoders.pointing import point
from detector.decoders.prediction_head import PredictionHead
from detector.decoders.region_features import RegionFeatures
from detector.losses.pointer_loss import pointer_loss
from detector.types import Scene, StagePredictions, Target


class LSTMPointer(nn.Module):
    """At each step the LSTM points at one of the proposals (pointer networks, Vinyals et al. 2015, equation 3) and
    predicts its box and class, or stops: a picture with three objects takes four steps, or some more until the end is
    certain.

    Before the first step a one-to-many intermediate stage refines every proposal by itself, all at once. What can be
    pointed at is every refined proposal not taken yet, and the end. Besides the recurrent state, a proposal's own score
    counts, and how much of it those taken so far cover.

    Training is by teacher forcing: among the proposals matched with objects not yet predicted, it takes the one with
    the largest pointer logit, and its pointer learns to prefer any of them to all others, and the end when none is
    left; sometimes its own choice stands (scheduled sampling), and afterwards it goes on for a few steps, to see
    background. At inference the scores of a step are multiplied by the probability that it was not yet at the end.

    Args:
        width, strides: of the pyramid.
        num_classes: C.
        matcher: tells which refined proposals show the objects; see `detector.matchers`.
        hidden_size: H.
        dropout: on region features.
        slots: most steps.
        candidates: proposals to choose from.
        points: region features come from `points` × `points` places of every level.
        sampling_rate: how often its own choice stands in training.
        extra_steps: in training, after the last object.
        end_above: it stops when the end is at least so probable.
        pointer_weight: of the pointer's loss.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, matcher: Callable, hidden_size: int, dropout: float,
        slots: int, candidates: int, points: int, sampling_rate: float, extra_steps: int, end_above: float,
        pointer_weight: float,
    ):
        super().__init__()
        self.matcher, self.slots, self.proposals = matcher, slots, candidates
        self.sampling_rate, self.extra_steps = sampling_rate, extra_steps
        self.end_above, self.pointer_weight = end_above, pointer_weight
        shared: dict = {"width": width, "strides": strides, "num_classes": num_classes, "points": points,
                  "hidden_size": hidden_size, "dropout": dropout}
        self.intermediate = IntermediateStage(**shared)
        self.region_features = RegionFeatures(**shared)
        self.key, self.query = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.pointer = nn.Linear(hidden_size, 1)
        self.end = nn.Linear(hidden_size, 1)
        nn.init.constant_(self.end.bias, -2.0)  # at first it goes on
        self.weights = nn.Parameter(torch.tensor([1.0, 3.0]))  # of a proposal's score, and against what covers it
        self.start = nn.Parameter(torch.zeros(2, hidden_size))
        self.cell = nn.LSTMCell(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.prediction_head = PredictionHead(hidden_size=hidden_size, num_classes=num_classes)

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[StagePredictions]:
        intermediate, hidden = self.intermediate(scene, scene.proposals)
        given = intermediate.detach()
        images, count = given.boxes.shape[:2]
        correct, steps = None, min(self.slots, count)
        if self.training and targets is not None:
            correct = self._matched(intermediate, targets)  # B K, of the K candidates
            steps = min(steps, max(len(target.labels) for target in targets) + 1 + self.extra_steps)
        features = self.region_features(scene, given, hidden)  # B K H
        keys = self.key(features)  # B K H
        overlap = torch.stack([box_iou(boxes, boxes) for boxes in given.boxes])  # B K K
        score = given.logits.amax(-1)  # B K
        free = torch.ones_like(score, dtype=torch.bool) if intermediate.valid is None else intermediate.valid  # B K
        covered = torch.zeros_like(score)
        going = torch.ones(images, 1, dtype=torch.bool, device=score.device)
        rows, columns = torch.arange(images, device=score.device), torch.arange(count, device=score.device)
        hidden, cell = (state.expand(images, -1) for state in self.start)  # B H
        made, answers = [], []
        for _ in range(steps):
            logits = self.pointer((keys + self.query(hidden).unsqueeze(1)).tanh()).squeeze(-1)
            logits = (logits + self.weights[0] * score - self.weights[1] * covered).float()
            logits = torch.cat([logits.masked_fill(~free, -torch.inf), self.end(hidden).float()], 1)  # B K+1
            going = going & free.any(1, keepdim=True) & (logits.softmax(-1)[:, -1:] < self.end_above)
            if correct is None and not going.any():
                break
            index = point(logits[:, :-1].detach(), correct, self.sampling_rate)  # B
            others = columns != index.unsqueeze(1)  # B K
            if correct is not None:
                answers.append(torch.cat([correct, ~correct.any(1, keepdim=True)], 1))
                correct = correct & others
            hidden, cell = self.cell(features[rows, index], (hidden, cell))
            free = free & others
            covered = torch.maximum(covered, overlap[rows, index])
            made.append((index, hidden, logits, going))
        if not made:
            return [intermediate, StagePredictions(given.logits[:, :0], given.boxes[:, :0], valid=free[:, :0])]
        taken, states, pointers, valid = zip(*made)
        order = torch.stack(taken, 1)  # B Q
        own = features.gather(1, order.unsqueeze(-1).expand(-1, -1, features.shape[-1]))
        last = self.prediction_head(self.norm(torch.stack(states, 1) + own), given.gather(order))
        if answers:
            loss = pointer_loss(torch.stack(pointers, 1), torch.stack(answers, 1))
            last.losses["pointer"] = self.pointer_weight * loss
        else:
            last.valid = torch.cat(valid, 1)
            ends = torch.stack(pointers, 1).softmax(-1)[..., -1:]
            last.logits = torch.logit(last.logits.sigmoid() * (1 - ends), eps=1e-6)
        return [intermediate, last]

    def _matched(self, given: StagePredictions, targets: list[Target]) -> Bool[Tensor, "B K"]:
        """Which of them are matched with objects."""
        matched = torch.zeros(given.boxes.shape[:2], dtype=torch.bool, device=given.boxes.device)
        for image, assignment in enumerate(self.matcher(given, targets)):
            matched[image, assignment.slots] = True
        return matched
