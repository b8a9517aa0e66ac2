"""What training is, whatever the task: the optimizer, the clock, and what a checkpoint keeps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn

log = logging.getLogger(__name__)


class BaseTask(lightning.LightningModule):
    """Trains a network.

    Args:
        seed: of what is random in the model itself (dropout).
        run: plain values that go into the checkpoint, so that it can be rebuilt.
        optimizer: takes parameter groups; its `lr` is that of everything but the backbone. This and what follows is for
            training, no test needs it.
        schedule: takes the optimizer and `total_steps`.
        backbone_lr_factor: the backbone's rate is this times `lr`.
    """

    def __init__(
        self, *, seed: int, run: dict, optimizer: partial | None, schedule: Callable | None, backbone_lr_factor: float
    ):
        super().__init__()
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.backbone_lr_factor = backbone_lr_factor
        self.seed, self.run = seed, run
        self._seconds_before = 0.0
        self._started: float | None = None
        self.skipped: set[str] = set()
        """Why samples could not be used, each reason once."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        raise NotImplementedError

    @property
    def backbone(self) -> nn.Module | None:
        """The part of it that learns at a rate of its own."""
        raise NotImplementedError

    def on_train_batch_start(self, loaded: object, index: int) -> None:
        """Dropout depends on the seed, the process, the epoch and the step alone, so that a run can be resumed."""
        place = [self.seed, self.global_rank, self.current_epoch, index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        assert self.make_optimizer and self.make_schedule  # None in tests alone
        backbone = [p for p in self.backbone.parameters() if p.requires_grad] if self.backbone else []
        inside = {id(p) for p in backbone}
        rest = [p for p in self.network.parameters() if p.requires_grad and id(p) not in inside]
        rate = self.make_optimizer.keywords["lr"]
        groups = [{"params": rest, "lr": rate}]
        if backbone:
            groups.append({"params": backbone, "lr": rate * self.backbone_lr_factor})
        optimizer = self.make_optimizer(groups)
        schedule = self.make_schedule(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def train_seconds(self) -> float:
        """The time spent in training, that of interrupted runs that this one continues included."""
        return self._seconds_before + (0.0 if self._started is None else time.monotonic() - self._started)

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_fit_end(self) -> None:
        self._seconds_before, self._started = self.train_seconds, None

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["run"] = self.run
        checkpoint["train_seconds"] = self.train_seconds

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self._seconds_before = checkpoint.get("train_seconds", 0.0)

    def note(self, reasons: list[str]) -> None:
        """Say why samples could not be used, each reason once."""
        for reason in reasons:
            if reason not in self.skipped:
                self.skipped.add(reason)
                log.warning("%s; skipped", reason)
