"""Predicting along an ordered list of proposals: what `lstm`, `gru`, `mlp` and `transformer` have in common."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_iou

from detector.decoders.feedback import Feedback
from detector.decoders.intermediate_stage import IntermediateStage, averaged
from detector.decoders.pairwise_geometry import relative_places
from detector.decoders.region_features import RegionFeatures, points_in_boxes
from detector.errors import InputError
from detector.postprocess import thin
from detector.types import Scene, StagePredictions, Target


class SequenceDecoder(nn.Module):
    """Tells, proposal after proposal by descending score, whether it shows an object that no earlier one shows.

    The score of a proposal is multiplied by the probability of that, its novelty, as the duplicate removal of Relation
    Networks does it (Hu et al. 2018, equation 9); its box stays. Quality is the dense head's business and novelty the
    decoder's: neither can spoil what the other has learnt, as the loss of these scores reaches the decoder alone, not
    the pyramid that it reads.

    Before that, an intermediate stage may refine every proposal by itself; those that have become all but equal to a
    better one are left out.

    A slot sees the region features of its proposal, its box and its class scores. What it knows of other slots is up to
    the sequence model and to the feedback.

    In evaluation and without gradients, `torch.export.export` makes a graph of it that gives the same, for one size of
    batch and canvas.

    Args:
        width: channels of the pyramid.
        strides: of its levels, in pixels of the canvas.
        num_classes: C.
        sequence_model: maps the features of all slots to what is known at each, [B Q H] to [B Q H].
        hidden_size: H.
        dropout: on the region features.
        slots: the length of the sequence.
        points: region features come from `points` × `points` places of every level.
        feedback: whether a slot is also given what earlier slots predicted (`Feedback`). Not for the
            `transformer`, whose slots depend on later ones.
        intermediate: whether an `IntermediateStage` refines the proposals.
        proposals: how many that stage is given, if more than `slots`; without it `slots` are taken as they come.
        thin_above: of two refined boxes of a class with a larger IoU the better one alone takes part in the sequence.

    Raises:
        InputError: thin_above is out of range, or feedback is asked of a sequence model whose slots know later ones.
    """

    def __init__(
        self, *, width: int, strides: list[int], num_classes: int, sequence_model: nn.Module, hidden_size: int,
        dropout: float, slots: int, points: int, feedback: bool, intermediate: bool = False, proposals: int = 0,
        thin_above: float = 0.8,
    ):
        super().__init__()
        if not 0 <= thin_above <= 1:
            raise InputError(f"decoder.thin_above is {thin_above}; it must lie between 0 and 1")
        if feedback and not getattr(sequence_model, "causal", False):
            raise InputError(
                "decoder.feedback needs a decoder whose slots depend on earlier ones alone: lstm, gru or mlp; "
                "otherwise pass decoder.feedback=false"
            )
        shared: dict = {"width": width, "strides": strides, "num_classes": num_classes, "hidden_size": hidden_size,
                        "dropout": dropout, "points": points}
        self.slots, self.thin_above = slots, thin_above
        self.proposals = max(slots, proposals) if intermediate else slots
        self.intermediate = IntermediateStage(**shared) if intermediate else None
        self.region_features = RegionFeatures(**shared)
        self.feedback = Feedback(hidden_size) if feedback else None
        self.sequence_model = sequence_model
        self.norm = nn.LayerNorm(hidden_size)
        self.novelty = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 1))
        last = self.novelty[-1]
        nn.init.normal_(last.get_parameter("weight"), std=1e-3)
        nn.init.constant_(last.get_parameter("bias"), 2.0)  # at first nearly everything is new

    def forward(self, scene: Scene, targets: list[Target] | None = None) -> list[StagePredictions]:
        scene.refuse_unread_levels()  # which no loss would train
        proposals = scene.proposals
        scene = replace(scene, pyramid=[level.detach() for level in scene.pyramid])
        stages = []
        if self.intermediate is not None:
            refined, _ = self.intermediate(scene, proposals)
            stages.append(refined)
            proposals = thin(averaged(refined, proposals), above=self.thin_above, slots=self.slots)
        features = self.region_features(scene, proposals)  # B Q H
        if self.feedback is None:
            hidden = self._at_once(features, proposals)
        else:
            feedback, hidden = self._segment_by_segment(features, proposals)  # B Q F, B Q H
            if torch.is_grad_enabled():  # to learn from; else the vectors found on the way are the result
                hidden = self._at_once(features + self.feedback(feedback), proposals)
        return [*stages, StagePredictions(
            self._logits(hidden, proposals.logits), proposals.boxes, valid=proposals.valid,
            sampled_points=points_in_boxes(proposals.boxes, self.region_features.points),
        )]

    def _at_once(self, features: Float[Tensor, "B Q H"], proposals: StagePredictions) -> Float[Tensor, "B Q H"]:
        """The hidden vectors of all slots. Those that are not valid are the last ones: only a sequence model whose
        slots know later ones needs to be told which."""
        return self.norm(features + self.sequence_model(features))

    def _logits(self, hidden: Float[Tensor, "B Q H"], quality: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q C"]:
        """Of the scores σ(quality) · σ(novelty)."""
        novelty = self.novelty(hidden).float().expand_as(quality)
        return -torch.stack([-quality, -novelty, -quality - novelty]).logsumexp(0)

    @torch.no_grad()
    def _segment_by_segment(
        self, features: Float[Tensor, "B Q H"], proposals: StagePredictions
    ) -> tuple[Float[Tensor, "B Q F"], Float[Tensor, "B Q H"]]:
        """What is fed back to each slot, and its hidden vector.

        A slot waits for those alone whose proposals overlap its own and are of its class: the list is gone through in
        `parallel_segments`. No gradient goes through the feedback: once it is known, all slots can be learnt from at
        once, which is quicker.
        """
        assert self.feedback is not None  # else this is not called
        iou = iou_with_earlier(proposals)  # B Q Q
        relative, quality = relative_places(proposals.boxes), proposals.logits.amax(2).sigmoid()  # B Q Q 4, B Q
        novelty = torch.zeros_like(quality)  # 0 for slots that are still to come
        feedback, hidden, state = [], [], None
        for segment in parallel_segments(iou):  # of S slots
            feedback.append(self.feedback.of(iou[:, segment], relative[:, segment], quality, novelty))  # B S F
            given = features[:, segment] + self.feedback(feedback[-1])  # B S H
            known, state = self.sequence_model.step(given, state)  # type: ignore[operator]  # torch: Tensor | Module
            hidden.append(self.norm(given + known))
            novelty[:, segment] = self.novelty(hidden[-1]).squeeze(2).float().sigmoid()
        return torch.cat(feedback, 1), torch.cat(hidden, 1)


def parallel_segments(iou: Float[Tensor, "B Q Q"]) -> list[slice]:
    """The list cut into segments, as long as they can be from its start, in which no proposal overlaps another of its
    class, in any image. In a graph that is exported or traced every slot is one by itself: that holds for any overlaps.

    Args:
        iou: of each proposal (rows) with those before it (columns); 0 for those of another class.
    """
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        return [slice(slot, slot + 1) for slot in range(iou.shape[1])]
    places = torch.arange(1, iou.shape[1] + 1, device=iou.device)  # Q
    last = ((iou > 0).any(0) * places).amax(1).tolist()  # Q: the last that overlaps, counted from 1; 0: none
    starts = [0]
    for slot, before in enumerate(last):
        if before > starts[-1]:
            starts.append(slot)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(last)])]


def iou_with_earlier(proposals: StagePredictions) -> Float[Tensor, "B Q Q"]:
    """Of each proposal (rows) with those before it (columns), where both are valid and of one class; elsewhere 0."""
    labels = proposals.logits.argmax(-1)
    if proposals.valid is not None:
        labels = labels.where(proposals.valid, -1)
    comparable = (labels.unsqueeze(1) == labels.unsqueeze(2)) & (labels >= 0).unsqueeze(1)
    iou = torch.stack([box_iou(boxes, boxes) for boxes in proposals.boxes])
    return iou.where(comparable & (iou > 0), 0.0).tril(-1)  # of two boxes without area it is no number
