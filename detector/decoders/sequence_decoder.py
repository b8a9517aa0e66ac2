"""Predicting along an ordered list of proposals: what `lstm`, `gru`, `mlp` and `transformer` have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_iou

from detector.decoders.prediction_head import PredictionHead
from detector.decoders.region_features import RegionFeatures, points_in_boxes
from detector.errors import InputError
from detector.types import Predictions, Scene, StagePredictions, Target


class SequenceDecoder(nn.Module):
    """Predicts a box and class scores for every proposal, one after another by descending score.

    A slot sees the region features of its proposal, its box and its class scores, and corrects the latter two. What it
    knows of other slots is up to the sequence model: an object that an earlier slot has predicted is to be answered as
    background, so that no non-maximum suppression is needed. Every further stage runs through the list again at the
    refined boxes, with weights of its own.

    Args:
        width: channels of the pyramid.
        strides: of its levels, in pixels of the canvas.
        num_classes: C.
        sequence_model: makes that of a stage, a module that maps the features of all slots to what is known at each,
            [B Q H] to [B Q H].
        hidden_size: H.
        dropout: on the region features.
        slots: proposals taken, the length of the sequence.
        stages: runs through the list.
        points: region features come from `points` × `points` places of every level.
        feedback: whether a slot of the last stage is also given what earlier slots predicted: the largest product of
            its proposal's IoU with an earlier one of its class and the score predicted for that one, and the logarithm
            of one more than the sum of those products. The stages before are then one-to-many (`positive_iou` in
            `SetLoss`), and the next takes their predictions by descending score. Not for the unordered `transformer`.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, sequence_model: Callable[[], nn.Module],
        hidden_size: int, dropout: float, slots: int, stages: int, points: int,
        feedback: bool = False,
    ):
        super().__init__()
        self.proposals = self.slots = slots
        self.feedback = feedback
        self.stages = nn.ModuleList(
            DecoderStage(
                width=width, strides=strides, num_classes=num_classes, sequence_model=sequence_model(),
                hidden_size=hidden_size, dropout=dropout, points=points, feedback=feedback and number == stages - 1,
            )
            for number in range(stages)
        )

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[StagePredictions]:
        proposals, hidden, predicted = scene.proposals, None, list[StagePredictions]()
        for stage in self.stages:
            if hidden is not None and self.feedback:
                order = proposals.logits.amax(-1).argsort(dim=1, descending=True, stable=True)  # B Q
                proposals = proposals.gather(order)
                hidden = hidden.gather(1, order.unsqueeze(-1).expand_as(hidden))
            proposals, hidden = stage(scene, proposals.detach(), hidden)
            proposals.one_to_many = self.feedback and len(predicted) < len(self.stages) - 1
            predicted.append(proposals)
        return predicted


class DecoderStage(nn.Module):
    """One run through the list; arguments as in `SequenceDecoder`, `sequence_model` being the module itself."""

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, sequence_model: nn.Module, hidden_size: int,
        dropout: float, points: int, feedback: bool = False,
    ):
        super().__init__()
        if feedback and not getattr(sequence_model, "causal", False):
            raise InputError(
                "decoder.feedback needs a decoder whose slots depend on earlier ones alone: lstm, gru or mlp; "
                "otherwise pass decoder.feedback=false"
            )
        self.feedback = nn.Linear(2, hidden_size) if feedback else None
        self.region_features = RegionFeatures(
            width=width, strides=strides, num_classes=num_classes, hidden_size=hidden_size, dropout=dropout,
            points=points,
        )
        self.sequence_model = sequence_model
        self.norm = nn.LayerNorm(hidden_size)
        self.prediction_head = PredictionHead(hidden_size=hidden_size, num_classes=num_classes)

    def forward(
        self, scene: Scene, proposals: Predictions, hidden: Float[Tensor, "B Q H"] | None = None
    ) -> tuple[StagePredictions, Float[Tensor, "B Q H"]]:
        """Predict for every proposal.

        Args:
            scene: where from.
            proposals: in the order of the slots.
            hidden: of the same slots in the stage before.

        Returns:
            The predictions, and the hidden vector of each.
        """
        features = self.region_features(scene, proposals, hidden)  # B Q H
        if self.feedback:
            feedback, hidden = self._segment_by_segment(features, proposals)  # B Q 2, B Q H
            if torch.is_grad_enabled():  # to learn from; else the vectors found on the way are the result
                hidden = self._at_once(features + self.feedback(feedback))
        else:
            hidden = self._at_once(features)
        predictions = self.prediction_head(hidden, proposals)
        predictions.sampled_points = points_in_boxes(proposals.boxes, self.region_features.points)
        return predictions, hidden

    def _at_once(self, features: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q H"]:
        return self.norm(features + self.sequence_model(features))

    @torch.no_grad()
    def _segment_by_segment(
        self, features: Float[Tensor, "B Q H"], proposals: Predictions
    ) -> tuple[Float[Tensor, "B Q 2"], Float[Tensor, "B Q H"]]:
        """The feedback of each slot, and its hidden vector.

        A slot waits for those alone whose proposals overlap its own and are of its class: the list is gone through in
        `parallel_segments`. No gradient goes through the feedback: once it is known, all slots can be learnt from at
        once, which is quicker.
        """
        assert self.feedback is not None  # else this is not called
        iou = _iou_with_earlier(proposals)  # B Q Q
        scores = torch.zeros_like(iou[:, 0])  # B Q; 0 for slots that are still to come
        feedback, hidden, state = [], [], None
        for segment in parallel_segments(iou):  # of S slots
            covered = iou[:, segment] * scores.unsqueeze(1)  # B S Q
            feedback.append(torch.stack([covered.amax(2), covered.sum(2).log1p()], -1))  # B S 2
            given = features[:, segment] + self.feedback(feedback[-1])  # B S H
            known, state = self.sequence_model.step(given, state)  # type: ignore[operator]  # torch: Tensor | Module
            hidden.append(self.norm(given + known))
            scores[:, segment] = self.prediction_head.scores(hidden[-1], proposals.logits[:, segment]).amax(2)
        return torch.cat(feedback, 1), torch.cat(hidden, 1)


class Recurrence(nn.Module):
    """`torch.nn.LSTM` or `torch.nn.GRU`, over a whole list or a few slots at a time.

    Args:
        cell: one of those classes.
        size: H, of input and output.
        layers: stacked.
        dropout: between layers.
    """

    causal = True

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], *, size: int, layers: int, dropout: float):
        super().__init__()
        self.cell = cell(size, size, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, features: Float[Tensor, "B Q H"]) -> Float[Tensor, "B Q H"]:
        return self.cell(features)[0]

    def step(
        self, features: Float[Tensor, "B S H"], state: list[tuple[Tensor, ...]] | None
    ) -> tuple[Float[Tensor, "B S H"], list[tuple[Tensor, ...]]]:
        """The next S slots of a list, equal to those of the whole list (but for dropout), and the recurrent state after
        them; the first are given none. On a few slots quicker than `forward`."""
        if state is None:
            zeros = torch.zeros_like(features[:, 0])  # B H
            state = [(zeros, zeros)] * self.cell.num_layers
        after = []
        for of_layer, weights in zip(state, self.cell.all_weights):
            outputs = []
            for slot in features.unbind(1):  # B H
                if isinstance(self.cell, nn.LSTM):
                    of_layer = torch.lstm_cell(slot, of_layer, *weights)
                else:
                    of_layer = (torch.gru_cell(slot, of_layer[0], *weights),)
                outputs.append(of_layer[0])
            features = torch.stack(outputs, 1)  # B S H
            after.append(of_layer)
        return features, after


def parallel_segments(iou: Float[Tensor, "B Q Q"]) -> list[slice]:
    """The list cut into segments, as long as they can be from its start, in which no proposal overlaps another of its
    class, in any image.

    Args:
        iou: of each proposal (rows) with those before it (columns); 0 for those of another class.
    """
    places = torch.arange(1, iou.shape[1] + 1, device=iou.device)  # Q
    last = ((iou > 0).any(0) * places).amax(1).tolist()  # Q: the last that overlaps, counted from 1; 0: none
    starts = [0]
    for slot, before in enumerate(last):
        if before > starts[-1]:
            starts.append(slot)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(last)])]


def _iou_with_earlier(proposals: Predictions) -> Float[Tensor, "B Q Q"]:
    """Of each proposal (rows) with those before it (columns), where they are of one class; elsewhere 0."""
    labels = proposals.logits.argmax(-1)
    iou = torch.stack([box_iou(boxes, boxes) for boxes in proposals.boxes])
    return (iou * (labels.unsqueeze(1) == labels.unsqueeze(2))).tril(-1)
