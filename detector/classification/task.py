"""The training step and the figures of the classification task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from detector.classification.classifier import Classifier
from detector.classification.evaluation.answers import AnswerCollector, Answers
from detector.classification.labelled_images import LabelledImages
from detector.errors import InputError
from detector.losses.set_loss import trains_with_others
from detector.training.base_task import BaseTask


class ClassificationTask(BaseTask):
    """Trains and evaluates a classifier.

    Args:
        classifier: what is trained.
        seed, run, optimizer, schedule, backbone_lr_factor: see `BaseTask`.
        loss: takes logits `B C` and labels `B` (class numbers from 0), gives a number; None where nothing is trained.

    Raises:
        InputError: the loss cannot be computed from those.
    """

    def __init__(
        self, classifier: Classifier, *, seed: int, run: dict, loss: nn.Module | None = None,
        optimizer: partial | None = None, schedule: Callable | None = None, backbone_lr_factor: float = 1.0,
    ):
        super().__init__(
            seed=seed, run=run, optimizer=optimizer, schedule=schedule, backbone_lr_factor=backbone_lr_factor
        )
        self.classifier, self.loss = classifier, loss
        self.collected = AnswerCollector()
        self.answers: Answers | None = None
        """Of the last validation or test."""
        if loss is not None:
            _require_fit(loss, len(run["class_names"]))

    @property
    def network(self) -> Classifier:
        return self.classifier

    @property
    def backbone(self) -> nn.Module | None:
        return getattr(self.classifier.reads, "backbone", None)

    def training_step(self, loaded: tuple[LabelledImages, list[str]], index: int) -> Tensor | None:
        batch, reasons = loaded
        self.note(reasons)
        if not len(batch):
            zero = 0.0 * torch.stack([p.sum() for p in self.classifier.parameters() if p.requires_grad]).sum()
            return zero if trains_with_others() else None  # the others wait for gradients
        loss = self._loss(self.classifier(batch.images), batch)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        self.log(
            f"train/{type(self.loss).__name__}", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch)
        )
        return loss

    def _loss(self, logits: Tensor, batch: LabelledImages) -> Tensor:
        assert self.loss  # None in tests alone
        with torch.autocast(self.device.type, enabled=False):
            return self.loss(logits.float(), batch.labels)

    def on_validation_epoch_start(self) -> None:
        self.collected = AnswerCollector()

    def validation_step(self, loaded: tuple[LabelledImages, list[str]], index: int) -> None:
        batch, reasons = loaded
        self.note(reasons)
        if len(batch):
            logits = self.classifier(batch.images)
            self.log("val/loss", self._loss(logits, batch), batch_size=len(batch), sync_dist=True, on_epoch=True)
            self.collected.update(batch.image_ids, batch.labels, logits.unsqueeze(1))

    def on_validation_epoch_end(self) -> None:
        self.collected.gather()
        self.answers = self.collected.answers()
        self.log("val/accuracy", float(self.answers.accuracy()[0]), prog_bar=True)
        self.log("val/macro_accuracy", float(self.answers.macro_accuracy()[0]))

    def on_test_epoch_start(self) -> None:
        self.collected = AnswerCollector()

    def test_step(self, loaded: tuple[LabelledImages, list[str]], index: int) -> None:
        batch, reasons = loaded
        self.note(reasons)
        if len(batch):
            self.collected.update(batch.image_ids, batch.labels, self.classifier.beliefs(batch.images))

    def on_test_epoch_end(self) -> None:
        self.collected.gather()
        self.answers = self.collected.answers()
        self.log("test/accuracy", float(self.answers.accuracy()[0]))


def _require_fit(loss: nn.Module, classes: int) -> None:
    """Try a loss on two images."""
    try:
        value = loss(torch.zeros(2, classes, requires_grad=True), torch.tensor([0, classes - 1]))
        problem = None if value.ndim == 0 and value.requires_grad else f"it gives {tuple(value.shape)}, not a number"
    except Exception as error:  # whatever a loss of somebody's own may raise
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise InputError(
            f"{type(loss).__name__} cannot be computed from logits (images × classes) and labels that are class "
            f"numbers from 0 ({problem}); give a loss of such labels, as loss=classification/cross_entropy is"
        )
