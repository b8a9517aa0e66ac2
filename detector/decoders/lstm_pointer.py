"""A decoder that chooses what to read next, and when to stop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torchvision.ops import box_iou

from detector.decoders.choosing import choose
from detector.decoders.list_reader import ListPass
from detector.decoders.mlp import FeedForward
from detector.decoders.reading import Reading, Writing
from detector.losses.choice import choice_loss
from detector.types import Predictions, Scene, Target


class LSTMPointer(nn.Module):
    """At each step the LSTM points at one of the proposals (pointer networks, Vinyals et al. 2015, equation 3), reads
    it, writes its box, or stops: a picture with three objects takes four steps.

    Before the first step every proposal is read by itself, all at once, and a draft of it is written. What can be pointed
    at is every draft not read yet, and the end. Besides what the LSTM remembers, the draft's own score counts, and how
    much of it the drafts read so far cover.

    In training it is led: among the drafts matched with objects not yet written, it reads the one it likes best, and
    its pointer learns to prefer any of them to all others, and the end when none is left; sometimes it is let go its
    own way, and afterwards it reads on for a few steps, to see what is to be answered with nothing. At inference the
    scores it writes at a step are multiplied by the probability that it was not yet at the end.

    Args:
        width, strides: of the pyramid.
        num_classes: C.
        matcher: tells which drafts show the objects; see `detector.matchers`.
        hidden_size: H.
        dropout: on what is read.
        slots: most steps.
        candidates: proposals to choose from.
        points: a proposal is read at `points` × `points` places of every level.
        explore: how often it goes its own way in training.
        surplus: steps read in training after the last object.
        end_above: it stops when the end is at least so probable.
        choice_weight: of the pointer's loss.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, matcher: Callable, hidden_size: int, dropout: float,
        slots: int, candidates: int, points: int, explore: float, surplus: int, end_above: float, choice_weight: float,
    ):
        super().__init__()
        self.matcher, self.slots, self.proposals = matcher, slots, candidates
        self.explore, self.surplus, self.end_above, self.choice_weight = explore, surplus, end_above, choice_weight
        seen = {"width": width, "strides": strides, "num_classes": num_classes, "points": points}
        self.draft = ListPass(**seen, memory=FeedForward(hidden_size, dropout), hidden_size=hidden_size, dropout=dropout)
        self.reading = Reading(**seen, hidden_size=hidden_size, dropout=dropout)
        self.key, self.query = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.liking = nn.Linear(hidden_size, 1)
        self.end = nn.Linear(hidden_size, 1)
        nn.init.constant_(self.end.bias, -2.0)  # at first it goes on
        self.weights = nn.Parameter(torch.tensor([1.0, 3.0]))  # of a proposal's score, and against what covers it
        self.start = nn.Parameter(torch.zeros(2, hidden_size))
        self.cell = nn.LSTMCell(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.writing = Writing(hidden_size=hidden_size, num_classes=num_classes)

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[Predictions]:
        led = self.training and targets is not None
        draft, thought = self.draft(scene, scene.proposals.detach())
        draft.draft = True
        given = draft.detach()
        images, count = given.boxes.shape[:2]
        right = self._objects(given, targets) if led else None
        steps = min(self.slots, count)
        if led:
            steps = min(steps, max(len(target.labels) for target in targets) + 1 + self.surplus)
        read = self.reading(scene, given, state=thought)
        keys = self.key(read)
        overlap = torch.stack([box_iou(boxes, boxes) for boxes in given.boxes])
        score = given.logits.amax(-1)
        unread = torch.ones(images, count, dtype=torch.bool, device=score.device)
        covered = torch.zeros_like(score)
        going = torch.ones(images, 1, dtype=torch.bool, device=score.device)
        rows = torch.arange(images, device=score.device)
        hidden, cell = (state.expand(images, -1) for state in self.start)
        chosen, states, choices, answers, written = [], [], [], [], []
        for _ in range(steps):
            liking = self.liking((keys + self.query(hidden).unsqueeze(1)).tanh()).squeeze(-1)
            liking = (liking + self.weights[0] * score - self.weights[1] * covered).float()
            choice = torch.cat([liking.masked_fill(~unread, -torch.inf), self.end(hidden).float()], 1)
            going = going & (choice.softmax(-1)[:, -1:] < self.end_above)
            if not (led or going.any()):
                break
            index = choose(choice[:, :-1].detach(), right, self.explore)
            if led:
                answers.append(torch.cat([right, ~right.any(1, keepdim=True)], 1))
                right = right & (torch.arange(count, device=index.device) != index.unsqueeze(1))
            hidden, cell = self.cell(read[rows, index], (hidden, cell))
            unread = unread & (torch.arange(count, device=index.device) != index.unsqueeze(1))
            covered = torch.maximum(covered, overlap[rows, index])
            chosen.append(index), states.append(hidden), choices.append(choice), written.append(going)
        if not chosen:
            return [draft, Predictions(given.logits[:, :0], given.boxes[:, :0], written=unread[:, :0])]
        order = torch.stack(chosen, 1)
        seen = given.gather(order)
        state = self.norm(torch.stack(states, 1) + read.gather(1, order.unsqueeze(-1).expand(-1, -1, read.shape[-1])))
        last = self.writing(state, seen)
        if led:
            loss = choice_loss(torch.stack(choices, 1), torch.stack(answers, 1))
            last.losses["choice"] = self.choice_weight * loss
        else:
            last.written = torch.cat(written, 1)
            ends = torch.stack(choices, 1).softmax(-1)[..., -1:]
            last.logits = torch.logit(last.logits.sigmoid() * (1 - ends), eps=1e-6)
        return [draft, last]

    def _objects(self, given: Predictions, targets: list[Target]) -> Bool[Tensor, "B Q"]:
        """Which of them are matched with objects."""
        right = torch.zeros(given.boxes.shape[:2], dtype=torch.bool, device=given.boxes.device)
        for image, assignment in enumerate(self.matcher(given, targets)):
            right[image, assignment.slots] = True
        return right
