"""The training step, the metric and the optimizer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from detector.data.dataset import DetectionDataset
from detector.evaluation.coco_map import NAMES, CocoMAP, check_backend
from detector.evaluation.crowding import crowd_scores
from detector.evaluation.matches import Matches
from detector.losses.set_loss import SetLoss, keep_in_step, trains_with_others
from detector.model import Detector
from detector.old_names import modernise
from detector.postprocess import detections_of, suppress
from detector.training.base_task import BaseTask
from detector.types import Batch, Output, SeenBatch, Target

log = logging.getLogger(__name__)


class Task(BaseTask):
    """Trains and evaluates a detector.

    Args:
        detector: what is trained.
        metric_backend, max_detections: see `CocoMAP`.
        nms_threshold: of the reference, the dense head with non-maximum suppression.
        seed, run, optimizer, schedule, backbone_lr_factor: see `BaseTask`.
        set_loss: of the decoder's stages. This and what follows is for training and validation, no test needs it.
        dense_loss: of the dense head; None where that is frozen.
    """

    def __init__(
        self, detector: Detector, *, metric_backend: str, max_detections: int, nms_threshold: float, seed: int,
        run: dict, set_loss: SetLoss | None = None, dense_loss: Callable | None = None,
        optimizer: partial | None = None, schedule: Callable | None = None, backbone_lr_factor: float = 1.0,
    ):
        super().__init__(
            seed=seed, run=run, optimizer=optimizer, schedule=schedule, backbone_lr_factor=backbone_lr_factor
        )
        check_backend(metric_backend)
        self.detector = detector
        self.set_loss, self.dense_loss = set_loss, dense_loss
        self.metric_backend, self.max_detections = metric_backend, max_detections
        self.nms_threshold = nms_threshold
        self.metrics: dict[str, CocoMAP] = {}
        self.scores: dict[str, dict] = {}
        """Of the last test: `decoder` and `dense_nms`, what `CocoMAP.compute` and `crowd_scores` return."""
        self.matches: dict[str, Matches] = {}
        """Of the same."""

    @property
    def network(self) -> Detector:
        return self.detector

    @property
    def backbone(self) -> nn.Module:
        return self.detector.backbone

    def metric_of(self, dataset: DetectionDataset) -> CocoMAP:
        """An empty metric on some images."""
        return CocoMAP(dataset, backend=self.metric_backend, max_detections=self.max_detections)

    def losses(self, batch: Batch | SeenBatch) -> dict[str, Tensor]:
        """The weighted terms of a batch, in float32."""
        if isinstance(batch, SeenBatch):
            return self._terms(self.detector.decode(batch.seen, batch.targets), batch.targets)
        return self._terms(self.detector(batch.images, batch.targets), batch.targets)

    def _terms(self, output: Output, targets: list[Target]) -> dict[str, Tensor]:
        assert self.set_loss  # None in tests alone
        keep_in_step(len(output.stages) + 1, self.device)  # and the dense head's
        with torch.autocast(self.device.type, enabled=False):
            terms = self.set_loss(output.stages, targets)
            if self.dense_loss:
                terms |= self.dense_loss(output.dense, output.scene.locations, targets)
            return terms

    def training_step(self, loaded: tuple[Batch | SeenBatch, list[str]], index: int) -> Tensor | None:
        batch, reasons = loaded
        self.note(reasons)
        if not len(batch):
            keep_in_step(0, self.device)
            zero = 0.0 * torch.stack([p.sum() for p in self.detector.parameters() if p.requires_grad]).sum()
            return zero if trains_with_others() else None  # the others wait for gradients
        self._warn_of_crowded(batch.targets)
        terms = self.losses(batch)
        loss = torch.stack(list(terms.values())).sum()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        self.log_dict(
            {f"train/{name}": term.detach() for name, term in terms.items()}, on_step=False, on_epoch=True,
            batch_size=len(batch),
        )
        return loss

    def on_validation_epoch_start(self) -> None:
        if "val" not in self.metrics:
            self.metrics["val"] = self.metric_of(self.trainer.datamodule.val)  # type: ignore[attr-defined]  # Lightning sets it
            if not self.metrics["val"].objects:
                log.warning("the validation split holds no objects: no mAP can be measured on it, it is logged as 0")
        self.metrics["val"].reset()

    def validation_step(self, loaded: tuple[Batch, list[str]], index: int) -> None:
        batch, reasons = loaded
        self.note(reasons)
        if not len(batch):
            return
        output = self.detector(batch.images)
        terms = self._terms(output, batch.targets)
        self.log(
            "val/loss", torch.stack(list(terms.values())).sum(), batch_size=len(batch), sync_dist=True, on_epoch=True
        )
        self._update("val", detections_of(output.stages[-1], _sizes(batch)), batch)

    def on_validation_epoch_end(self) -> None:
        self.metrics["val"].gather()
        scores = self.metrics["val"].compute()
        for name in NAMES:  # a figure without objects to measure it on is logged as 0
            self.log(f"val/{name}", 0.0 if math.isnan(scores[name]) else scores[name], prog_bar=name == "AP")

    def on_test_epoch_start(self) -> None:
        dataset = self.trainer.test_dataloaders.dataset  # type: ignore[union-attr]  # there is one in a test
        for row in ("decoder", "dense_nms"):
            self.metrics[row] = self.metric_of(dataset)

    def test_step(self, loaded: tuple[Batch, list[str]], index: int) -> dict[str, Output]:
        """What the detector computes, as `output`, for a callback that measures something else of it."""
        batch, reasons = loaded
        self.note(reasons)
        if not len(batch):
            return {}
        output = self.detector(batch.images)
        dense = suppress(output.scene.dense, threshold=self.nms_threshold)
        self._update("decoder", detections_of(output.stages[-1], _sizes(batch)), batch)
        self._update("dense_nms", detections_of(dense, _sizes(batch)), batch)
        return {"output": output}

    def on_test_epoch_end(self) -> None:
        for row in ("decoder", "dense_nms"):
            self.metrics[row].gather()
            self.matches[row] = Matches.of(self.metrics[row])
            self.scores[row] = {**self.metrics[row].compute(), **crowd_scores(self.matches[row])}
        self.log_dict({f"test/{name}": self.scores["decoder"][name] for name in NAMES})

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        modernise(checkpoint)  # Lightning has read it from the file once more
        super().on_load_checkpoint(checkpoint)

    def _update(self, row: str, detections: list, batch: Batch) -> None:
        self.metrics[row].update([target.image_id for target in batch.targets], detections)

    def _warn_of_crowded(self, targets: list[Target]) -> None:
        slots = self.detector.decoder.slots
        for target in targets if slots is not None else ():
            key = f"image {target.image_id} has {len(target.labels)} objects, more than decoder.slots={slots}"
            if len(target.labels) > slots and key not in self.skipped:
                self.skipped.add(key)
                log.warning("%s: %d of them cannot be learnt", key, len(target.labels) - slots)


def _sizes(batch: Batch) -> list[tuple[int, int]]:
    return [target.size for target in batch.targets]
