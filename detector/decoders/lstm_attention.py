"""A decoder without proposals: one attention over the whole pyramid a step."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torchvision.ops import box_convert

from detector.decoders.pointing import point
from detector.decoders.prediction_head import PredictionHead
from detector.losses.pointer_loss import pointer_loss
from detector.types import Locations, Predictions, Scene, StagePredictions, Target


class LSTMAttention(nn.Module):
    """One LSTM attends over every location of the pyramid, by content and position, looks at the one it attends to
    most, predicts a box around it and a class, and whether any object is left.

    Attention starts from the dense head's scores: their logits are added, with a weight that is learnt, and a learnt
    multiple of what the boxes predicted so far cover is taken away, so that it does not return where it was. The box
    before is fed back. At inference the sequence ends where the decoder stops.

    In training its inputs are those of the ground truth (teacher forcing): it looks at the location in the middle of an
    object not yet predicted that has the largest logit, its attention learns to prefer any of those locations to all
    others, and the box fed back is the object's; the other times its own choices stand (scheduled sampling, Bengio et
    al. 2015).

    Args:
        width, strides: of the pyramid.
        num_classes: C.
        hidden_size: H.
        dropout: on the LSTM's input.
        slots: most steps.
        sampling_rate: how often its own choices stand in training.
        extra_steps: in training, after the last object.
        stop_above: it stops when that is at least so probable.
        pointer_weight: of the attention's loss.
        prior_score: of every class, before anything is learnt.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, dropout: float, slots: int,
        sampling_rate: float, extra_steps: int, stop_above: float, pointer_weight: float, prior_score: float = 0.1,
    ):
        super().__init__()
        self.proposals, self.slots, self.num_classes = 0, slots, num_classes
        self.sampling_rate, self.extra_steps = sampling_rate, extra_steps
        self.stop_above, self.pointer_weight = stop_above, pointer_weight
        self.prior_logit = torch.logit(torch.tensor(prior_score)).item()
        self.value = nn.Linear(width, hidden_size)
        self.place = nn.Sequential(nn.Linear(3, hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size))
        self.key, self.query = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.weights = nn.Parameter(torch.tensor([1.0, 6.0]))  # of the dense score, and against what is covered
        self.context, self.focus = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.previous = nn.Linear(4 + num_classes, hidden_size)
        self.input_norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.start = nn.Parameter(torch.zeros(2, hidden_size))
        self.cell = nn.LSTMCell(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.prediction_head = PredictionHead(hidden_size=hidden_size, num_classes=num_classes)
        self.stop = nn.Linear(hidden_size, 1)
        nn.init.constant_(self.stop.bias, -2.0)  # at first it goes on

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[StagePredictions]:
        teacher = None
        if self.training and targets is not None:
            teacher = TeacherForcing(scene.locations, targets, self.sampling_rate)
        steps = self.slots if teacher is None else min(self.slots, teacher.most_objects + 1 + self.extra_steps)
        where, score = scene.locations, scene.dense.logits.amax(-1)  # score: B L
        around = torch.cat([where.centres, 4 * where.strides], 1)  # L 4: boxes of four cells a side around locations
        values, keys = self._values(scene)  # B L H
        images = len(score)  # B
        rows = torch.arange(images, device=score.device)
        covered = torch.zeros_like(score)  # B L
        going = torch.ones(images, 1, dtype=torch.bool, device=score.device)
        hidden, cell = (state.expand(images, -1) for state in self.start)  # B H
        box, classes = score.new_zeros(images, 4), score.new_zeros(images, self.num_classes)  # B 4, B C
        made = []
        for _ in range(steps):
            content = torch.einsum("bh,blh->bl", self.query(hidden), keys)
            logits = (content + self.weights[0] * score - self.weights[1] * covered).float()  # B L
            correct = None if teacher is None else teacher.correct()
            index = point(logits.detach(), correct, self.sampling_rate)  # B
            attention = logits.softmax(-1)
            context = torch.einsum("bl,blh->bh", attention.to(values.dtype), values)  # B H
            previous = self.previous(torch.cat([box, classes], 1))
            features = self.context(context) + self.focus(values[rows, index]) + previous  # B H
            features = self.dropout(self.input_norm(features).relu())
            hidden, cell = self.cell(features, (hidden, cell))
            proposal = Predictions(
                score.new_full((images, 1, self.num_classes), self.prior_logit),
                box_convert(around[index], "cxcywh", "xyxy").unsqueeze(1),
            )  # B 1 C and B 1 4
            known = self.norm(hidden + features)  # B H
            one = self.prediction_head(known.unsqueeze(1), proposal)  # of one slot
            stop = self.stop(known).float()  # B 1
            going = going & (stop.sigmoid() < self.stop_above)
            if teacher is None and not going.any():
                break
            made.append((one, stop, going, attention.detach(), logits, correct))
            box, classes = one.boxes[:, 0].detach(), one.logits[:, 0].detach().sigmoid()
            if teacher is not None:
                box = teacher.feedback(index, box)
            covered = torch.maximum(covered, _under(box, where))
        if not made:
            return [StagePredictions(scene.dense.logits[:, :0], scene.dense.boxes[:, :0], valid=going[:, :0])]
        predicted, stops, valid, attended, pointers, answers = zip(*made)
        result = StagePredictions(
            torch.cat([one.logits for one in predicted], 1), torch.cat([one.boxes for one in predicted], 1),
            stop=torch.cat(stops, 1), attention=torch.stack(attended, 1),
        )
        if teacher is None:
            result.valid = torch.cat(valid, 1)
        else:
            loss = pointer_loss(torch.stack(pointers, 1), torch.stack(answers, 1))
            result.losses["pointer"] = self.pointer_weight * loss
        return [result]

    def _values(self, scene: Scene) -> tuple[Float[Tensor, "B L H"], Float[Tensor, "B L H"]]:
        """Values and keys of every location of the dense head."""
        scene.refuse_unread_levels()
        where = scene.locations
        features = torch.cat([level.flatten(2).transpose(1, 2) for level in scene.pyramid], 1)
        values = (self.value(features) + self.place(torch.cat([where.centres, where.strides[:, :1].log()], 1))).relu()
        return values, self.key(values) / values.shape[-1] ** 0.5


class TeacherForcing:
    """The inputs of each step in training: knows which objects are not predicted yet, and where their middles are.

    Args:
        where: the locations to choose from.
        targets: the objects.
        sampling_rate: how often a predicted box is fed back instead of the object's.
    """

    def __init__(self, where: Locations, targets: list[Target], sampling_rate: float):
        self.targets, self.sampling_rate = targets, sampling_rate
        self.most_objects = max(len(target.labels) for target in targets)
        self.middles = [_middles(where, target) for target in targets]
        self.done = [torch.zeros_like(target.labels, dtype=torch.bool) for target in targets]

    def correct(self) -> Bool[Tensor, "B L"]:
        """The locations in the middle of objects not yet predicted."""
        return torch.stack([(middle & ~done.unsqueeze(1)).any(0) for middle, done in zip(self.middles, self.done)])

    def feedback(self, index: Int64[Tensor, "B"], boxes: Float[Tensor, "B 4"]) -> Float[Tensor, "B 4"]:
        """Note which object was looked at.

        Args:
            index: the location looked at.
            boxes: predicted there.

        Returns:
            The boxes to feed back: mostly those of the objects, else the predicted ones.
        """
        boxes = boxes.clone()
        sampled = (torch.rand(len(boxes), device=boxes.device) < self.sampling_rate).tolist()
        for image, (middle, done, target) in enumerate(zip(self.middles, self.done, self.targets)):
            looked_at = middle[:, index[image]] & ~done
            if looked_at.any():
                found = looked_at.float().argmax()
                done[found] = True
                if not sampled[image]:
                    boxes[image] = target.boxes[found]
        return boxes


def _middles(where: Locations, target: Target) -> Bool[Tensor, "N L"]:
    """The locations in the middle half of each object."""
    low, high = target.boxes.split(2, -1)
    quarter = (high - low) / 4
    return where.inside(torch.cat([low + quarter, high - quarter], 1))


def _under(boxes: Float[Tensor, "B 4"], where: Locations) -> Float[Tensor, "B L"]:
    """How much a box covers each location: 1 in its middle, exp(−1) on its edges."""
    low, high = boxes.unsqueeze(1).split(2, -1)
    side = (high - low).clamp(min=1e-3)
    return (-((2 * (where.centres - (low + high) / 2) / side) ** 2).sum(-1)).exp()
