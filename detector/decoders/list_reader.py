"""Reading an ordered list of proposals: what the decoders `lstm`, `gru`, `mlp` and `transformer` have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.ops import box_convert, box_iou

from detector.decoders.reading import Reading, Writing
from detector.decoders.sampling import places_in_boxes
from detector.errors import InputError
from detector.types import Predictions, Scene, Target

ORDERS = ("score", "left_to_right", "random")


class ListReader(nn.Module):
    """Reads the proposals and writes a box and class scores for each; how a step knows of the others is its memory.

    At each step it sees the features under a proposal, its box and its class scores, and writes a box and class scores
    as corrections of the proposal's: a proposal that shows an object written before is to be answered with low scores,
    so that no non-maximum suppression is needed. Every further pass reads the list again at the refined boxes, with
    weights of its own.

    Args:
        width: channels of the pyramid.
        strides: of its levels, in pixels of the canvas.
        num_classes: C.
        memory: makes the memory of a pass, a module that maps what is read at each step to what is known there,
            [B Q H] to [B Q H].
        hidden_size: H.
        dropout: on what is read.
        slots: proposals read, the length of the sequence.
        passes: times the list is read.
        points: a proposal is read at `points` × `points` places of every level.
        order: of reading: by score, best first; left to right; or random, the same for every image.
        coverage: whether a step is told how much earlier proposals of its class cover its own: the largest IoU, the
            largest product of IoU and score, the logarithm of one more than the number of IoUs above 0.5, and its rank
            from 0 to 1.
        feedback: whether a step of the last pass is also told what the steps before it made of theirs: the largest product
            of its IoU with an earlier proposal of its class and the score written for that one, and the logarithm of one
            more than the sum of those products. The passes before it are then drafts, which the last one reads sorted
            anew: each of their slots answers by itself (`near_iou` in `SetLoss`), and the last pass has to choose. Not
            for `transformer` or two directions, which do not go step by step.
        writes: boxes that the first pass writes for each proposal; later passes refine them all.
        denoising: in training, copies of every object that are read as further lists, boxes and labels noised: one
            copy is to be answered, the others are to be recognised as written (after DN-DETR, Li et al. 2022).
        groups: in training, times the list is read; all but once with boxes jittered and in random order, each time
            matched for itself (after Group DETR, Chen et al. 2023).
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, memory: Callable[[], nn.Module], hidden_size: int,
        dropout: float, slots: int, passes: int, points: int, order: str = "score", coverage: bool = False,
        feedback: bool = False, writes: int = 1, denoising: int = 0, groups: int = 1,
    ):
        super().__init__()
        if order not in ORDERS:
            raise InputError(f"decoder.order is {order!r}; there are {', '.join(ORDERS)}")
        self.proposals, self.slots = slots, slots * writes
        self.order, self.feedback = order, feedback
        self.denoising, self.groups, self.num_classes = denoising, groups, num_classes
        self.passes = nn.ModuleList(
            ListPass(
                width=width, strides=strides, num_classes=num_classes, memory=memory(), hidden_size=hidden_size,
                dropout=dropout, points=points, coverage=coverage, feedback=feedback and number == passes - 1,
                writes=1 if number else writes,
            )
            for number in range(passes)
        )

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[Predictions]:
        lists = []
        if self.training and targets is not None:
            if self.denoising and any(len(target.labels) for target in targets):
                lists.append(noised(targets, self.denoising, self.num_classes))
            lists += [_shuffled(_jittered(scene.proposals, 0.1)) for _ in range(self.groups - 1)]
        lists.append(self._given(scene.proposals))
        stages = [stage for given in lists for stage in self._read(scene, given)]
        for stage in stages:
            stage.weight = 1 / len(lists)
        return stages

    def _given(self, proposals: Predictions) -> Predictions:
        """The proposals, the best of which comes first, in the order of the first pass."""
        if self.order == "score":
            return proposals
        if self.order == "left_to_right":
            return proposals.gather(self._sorted(proposals))
        count = proposals.boxes.shape[1]
        order = torch.randperm(count, generator=torch.Generator().manual_seed(count)).to(proposals.boxes.device)
        return proposals.gather(order.expand(len(proposals.boxes), -1))

    def _read(self, scene: Scene, proposals: Predictions) -> list[Predictions]:
        written: list[Predictions] = []
        state = None
        for one_pass in self.passes:
            if proposals.draft and self.order != "random":
                again = self._sorted(proposals)
                proposals = proposals.gather(again)
                state = state.gather(1, again.unsqueeze(-1).expand_as(state))
            proposals, state = one_pass(scene, proposals.detach(), state)
            proposals.draft = self.feedback and len(written) < len(self.passes) - 1
            written.append(proposals)
        return written

    def _sorted(self, proposals: Predictions) -> Int64[Tensor, "B Q"]:
        key = -proposals.logits.amax(-1) if self.order == "score" else proposals.boxes[..., [0, 2]].sum(-1)
        return key.argsort(dim=1, stable=True)


class ListPass(nn.Module):
    """One reading of the list; arguments as in `ListReader`, `memory` being the module itself."""

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, memory: nn.Module, hidden_size: int, dropout: float,
        points: int, coverage: bool = False, feedback: bool = False, writes: int = 1,
    ):
        super().__init__()
        if feedback and not getattr(memory, "goes_step_by_step", False):
            raise InputError("decoder.feedback needs a reader that goes step by step: lstm, gru or mlp in one direction; "
                "otherwise pass decoder.feedback=false")
        self.coverage = coverage
        self.feedback = nn.Linear(2, hidden_size) if feedback else None
        self.reading = Reading(
            width=width, strides=strides, num_classes=num_classes, hidden_size=hidden_size, dropout=dropout,
            points=points, notes=4 if coverage else 0,
        )
        self.memory = memory
        self.norm = nn.LayerNorm(hidden_size)
        self.writing = Writing(hidden_size=hidden_size, num_classes=num_classes, writes=writes)

    def forward(
        self, scene: Scene, proposals: Predictions, state: Float[Tensor, "B Q H"] | None = None
    ) -> tuple[Predictions, Float[Tensor, "B Q2 H"]]:
        """Read the proposals.

        Args:
            scene: where from.
            proposals: what to read, in that order.
            state: of the pass before.

        Returns:
            What is written, and the state of each box written.
        """
        notes = covered_before(proposals) if self.coverage else None
        read = self.reading(scene, proposals, notes=notes, state=state)
        if self.feedback:
            told, state = self._stretch_by_stretch(read, proposals)
            if torch.is_grad_enabled():  # to learn from; else the states found on the way are the result
                state = self._at_once(read + self.feedback(told))
        else:
            state = self._at_once(read)
        written = self.writing(state, proposals)
        written.looked = places_in_boxes(proposals.boxes, self.reading.points).repeat_interleave(self.writing.writes, 1)
        return written, state.repeat_interleave(self.writing.writes, 1)

    def _at_once(self, read: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q H"]:
        return self.norm(read + self.memory(read))

    @torch.no_grad()
    def _stretch_by_stretch(
        self, read: Float[Tensor, "B Q H"], proposals: Predictions
    ) -> tuple[Float[Tensor, "B Q 2"], Float[Tensor, "B Q H"]]:
        """What each step is told of those before it, and its state.

        A step waits for those alone whose proposals overlap its own and are of its class: the list is gone through in
        `stretches`. No gradient goes through what is told: once it is known, all steps can be learnt from at once, which
        is quicker.
        """
        iou = _iou_with_earlier(proposals)
        scores = torch.zeros_like(iou[:, 0])
        told, states, memory = [], [], None
        for steps in stretches(iou):
            written = iou[:, steps] * scores.unsqueeze(1)
            told.append(torch.stack([written.amax(2), written.sum(2).log1p()], -1))
            seen = read[:, steps] + self.feedback(told[-1])
            known, memory = self.memory.go_on(seen, memory)
            states.append(self.norm(seen + known))
            scores[:, steps] = self.writing.scores(states[-1], proposals.logits[:, steps]).unflatten(
                1, (-1, self.writing.writes)
            ).amax((2, 3))
        return torch.cat(told, 1), torch.cat(states, 1)


def stretches(iou: Float[Tensor, "B Q Q"]) -> list[slice]:
    """The list cut into stretches, as long as they can be from its start, in which no proposal overlaps another of its
    class, in any image.

    Args:
        iou: of each proposal (rows) with those before it (columns); 0 for those of another class.
    """
    places = torch.arange(1, iou.shape[1] + 1, device=iou.device)
    last = ((iou > 0).any(0) * places).amax(1).tolist()  # that overlaps, counted from 1; 0: none
    starts = [0]
    for step, before in enumerate(last):
        if before > starts[-1]:
            starts.append(step)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(last)])]


def covered_before(proposals: Predictions) -> Float[Tensor, "B Q 4"]:
    """What earlier proposals of its class cover of each: see `coverage` in `ListReader`."""
    scores, labels = proposals.logits.sigmoid().max(-1)
    count = labels.shape[1]
    iou = _iou_with_earlier(proposals)
    rank = torch.arange(count, device=labels.device).expand(len(labels), -1) / count
    surest = (iou * scores.unsqueeze(1)).amax(-1)
    return torch.stack([iou.amax(-1), surest, (iou > 0.5).sum(-1).float().log1p(), rank], -1)


def _iou_with_earlier(proposals: Predictions) -> Float[Tensor, "B Q Q"]:
    """Of each proposal (rows) with those before it (columns), where they are of one class; elsewhere 0."""
    labels = proposals.logits.argmax(-1)
    iou = torch.stack([box_iou(boxes, boxes) for boxes in proposals.boxes])
    return (iou * (labels.unsqueeze(1) == labels.unsqueeze(2))).tril(-1)


def noised(targets: list[Target], copies: int, num_classes: int) -> Predictions:
    """Objects as proposals: `copies` of each with jittered boxes and, a fifth of them, another label, in random order.

    Images with fewer objects are filled up with random boxes of low scores.
    """
    longest = copies * max(len(target.labels) for target in targets)
    device = targets[0].boxes.device
    logits = torch.full((len(targets), longest, num_classes), -3.0, device=device)
    centre, side = torch.rand(len(targets), longest, 2, device=device), torch.rand(len(targets), longest, 2, device=device)
    boxes = torch.cat([centre - side / 4, centre + side / 4], -1).clamp(0, 1)
    for image, target in enumerate(targets):
        labels = target.labels.repeat(copies)
        other = torch.randint_like(labels, num_classes)
        labels = other.where(torch.rand(len(labels), device=device) < 0.2, labels)
        rows = torch.arange(len(labels), device=device)
        logits[image, rows, labels] = torch.randn(len(labels), device=device)
        boxes[image, : len(labels)] = target.boxes.repeat(copies, 1)
    return _shuffled(_jittered(Predictions(logits, boxes), 0.3))


def _jittered(proposals: Predictions, scale: float) -> Predictions:
    """Centres moved by up to `scale` / 2 of a side, sides changed by up to `scale`."""
    centre, side = box_convert(proposals.boxes, "xyxy", "cxcywh").split(2, -1)
    centre = centre + side * scale * (torch.rand_like(centre) - 0.5)
    side = side * (1 + scale * (2 * torch.rand_like(side) - 1))
    return Predictions(proposals.logits, torch.cat([centre - side / 2, centre + side / 2], -1).clamp(0, 1))


def _shuffled(proposals: Predictions) -> Predictions:
    return proposals.gather(torch.rand(proposals.boxes.shape[:2], device=proposals.boxes.device).argsort(1))
