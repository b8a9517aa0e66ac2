"""A decoder that looks where it likes: no proposals, one attention over the whole pyramid a step."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torchvision.ops import box_convert

from detector.decoders.choosing import choose
from detector.decoders.reading import Writing
from detector.losses.choice import choice_loss
from detector.types import Locations, Predictions, Scene, Target


class LSTMAttention(nn.Module):
    """One LSTM attends over every location of the pyramid, by content and position, looks at the one it attends to
    most, writes a box around it and a class, and says whether anything is left to write.

    Attention starts from the dense head's scores: their logits are added, with a weight that is learnt, and a learnt
    multiple of what the boxes written so far cover is taken away, so that it does not return where it was. The box
    before is fed back. At inference the sequence ends where the decoder stops.

    In training it is led: it looks at that place in the middle of an object not yet written which it likes best, its
    attention learns to prefer any of those places to all others, and the box fed back is the object's; the other times
    it goes its own way (scheduled sampling, Bengio et al. 2015).

    Args:
        width, strides: of the pyramid.
        num_classes: C.
        hidden_size: H.
        dropout: on what is read.
        slots: most steps.
        explore: how often it goes its own way in training.
        surplus: steps in training after the last object.
        stop_above: it stops when that is at least so probable.
        choice_weight: of the attention's loss.
        prior_score: of every class, before anything is learnt.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, hidden_size: int, dropout: float, slots: int,
        explore: float, surplus: int, stop_above: float, choice_weight: float, prior_score: float = 0.1,
    ):
        super().__init__()
        self.proposals, self.slots, self.num_classes = 0, slots, num_classes
        self.explore, self.surplus, self.stop_above, self.choice_weight = explore, surplus, stop_above, choice_weight
        self.prior_logit = torch.logit(torch.tensor(prior_score)).item()
        self.value = nn.Linear(width, hidden_size)
        self.place = nn.Sequential(nn.Linear(3, hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size))
        self.key, self.query = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.weights = nn.Parameter(torch.tensor([1.0, 6.0]))  # of the dense score, and against what is covered
        self.context, self.focus = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.previous = nn.Linear(4 + num_classes, hidden_size)
        self.read_norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.start = nn.Parameter(torch.zeros(2, hidden_size))
        self.cell = nn.LSTMCell(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.writing = Writing(hidden_size=hidden_size, num_classes=num_classes)
        self.stop = nn.Linear(hidden_size, 1)
        nn.init.constant_(self.stop.bias, -2.0)  # at first it goes on

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[Predictions]:
        guide = Guide(scene.locations, targets, self.explore) if self.training and targets is not None else None
        steps = self.slots if guide is None else min(self.slots, guide.most_objects + 1 + self.surplus)
        where, score = scene.locations, scene.dense.logits.amax(-1)
        around = torch.cat([where.centres, 4 * where.strides], 1)  # a box of four cells a side around each location
        values, keys = self._values(scene)
        images = len(score)
        rows = torch.arange(images, device=score.device)
        covered = torch.zeros_like(score)
        going = torch.ones(images, 1, dtype=torch.bool, device=score.device)
        hidden, cell = (state.expand(images, -1) for state in self.start)
        box, classes = score.new_zeros(images, 4), score.new_zeros(images, self.num_classes)
        passes, stops, choices, answers, written, attended = [], [], [], [], [], []
        for _ in range(steps):
            content = torch.einsum("bh,blh->bl", self.query(hidden), keys)
            choice = (content + self.weights[0] * score - self.weights[1] * covered).float()
            right = None if guide is None else guide.right()
            index = choose(choice.detach(), right, self.explore)
            attention = choice.softmax(-1)
            context = torch.einsum("bl,blh->bh", attention.to(values.dtype), values)
            previous = self.previous(torch.cat([box, classes], 1))
            read = self.context(context) + self.focus(values[rows, index]) + previous
            read = self.dropout(self.read_norm(read).relu())
            hidden, cell = self.cell(read, (hidden, cell))
            state = self.norm(hidden + read)
            looked = Predictions(
                score.new_full((images, 1, self.num_classes), self.prior_logit),
                box_convert(around[index], "cxcywh", "xyxy").unsqueeze(1),
            )
            one = self.writing(state.unsqueeze(1), looked)
            stop = self.stop(state).float()
            going = going & (stop.sigmoid() < self.stop_above)
            if guide is None and not going.any():
                break
            passes.append(one), stops.append(stop), written.append(going), attended.append(attention.detach())
            box, classes = one.boxes[:, 0].detach(), one.logits[:, 0].detach().sigmoid()
            if guide is not None:
                choices.append(choice), answers.append(right)
                box = guide.written(index, box)
            covered = torch.maximum(covered, _under(box, where))
        if not passes:
            return [Predictions(scene.dense.logits[:, :0], scene.dense.boxes[:, :0], written=going[:, :0])]
        result = Predictions(
            torch.cat([one.logits for one in passes], 1), torch.cat([one.boxes for one in passes], 1),
            stop=torch.cat(stops, 1), attention=torch.stack(attended, 1),
        )
        if guide is None:
            result.written = torch.cat(written, 1)
        else:
            loss = choice_loss(torch.stack(choices, 1), torch.stack(answers, 1))
            result.losses["choice"] = self.choice_weight * loss
        return [result]

    def _values(self, scene: Scene) -> tuple[Float[Tensor, "B L H"], Float[Tensor, "B L H"]]:
        """What there is to read at every location of the dense head, and what it is attended to by."""
        scene.refuse_unread_levels()
        where = scene.locations
        features = torch.cat([level.flatten(2).transpose(1, 2) for level in scene.pyramid], 1)
        values = (self.value(features) + self.place(torch.cat([where.centres, where.strides[:, :1].log()], 1))).relu()
        return values, self.key(values) / values.shape[-1] ** 0.5


class Guide:
    """Leads through the objects of a batch in training: knows which are not written yet, and where their middles are.

    Args:
        where: the locations to choose from.
        targets: the objects.
        explore: how often a box that was written is kept, instead of the object's.
    """

    def __init__(self, where: Locations, targets: list[Target], explore: float):
        self.targets, self.explore = targets, explore
        self.most_objects = max(len(target.labels) for target in targets)
        self.middles = [_middles(where, target) for target in targets]
        self.done = [torch.zeros_like(target.labels, dtype=torch.bool) for target in targets]

    def right(self) -> Bool[Tensor, "B L"]:
        """The locations in the middle of objects not yet written."""
        return torch.stack([(middle & ~done.unsqueeze(1)).any(0) for middle, done in zip(self.middles, self.done)])

    def written(self, index: Int64[Tensor, "B"], boxes: Float[Tensor, "B 4"]) -> Float[Tensor, "B 4"]:
        """Note which object was looked at.

        Args:
            index: the location looked at.
            boxes: what was written.

        Returns:
            The boxes to feed back: mostly those of the objects, else what was written.
        """
        boxes = boxes.clone()
        own_way = (torch.rand(len(boxes), device=boxes.device) < self.explore).tolist()
        for image, (middle, done, target) in enumerate(zip(self.middles, self.done, self.targets)):
            looked_at = middle[:, index[image]] & ~done
            if looked_at.any():
                found = looked_at.float().argmax()
                done[found] = True
                if not own_way[image]:
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
