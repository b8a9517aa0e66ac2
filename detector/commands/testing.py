"""Testing a trained task, and writing down what comes out."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import lightning
import torch

from detector.data.dataset import DetectionDataset
from detector.decoders.dense import Dense
from detector.evaluation.coco_map import CocoMAP, table
from detector.evaluation.precision_recall import plot_precision_recall
from detector.evaluation.record import rounded
from detector.postprocess import write_out
from detector.task import Task

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips say nothing about the run
warnings.filterwarnings("ignore", ".*module.s. in eval mode at the start")  # frozen batch-norm is meant to be
warnings.filterwarnings("ignore", ".*LeafSpec")  # Lightning's own, of PyTorch's next version


NMS_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@torch.inference_mode()
def tune_nms(task: Task, dataset: DetectionDataset, loader) -> float:
    """Give the dense head's non-maximum suppression, wherever it is used, the threshold with the best AP on a data set.

    Returns:
        The threshold, of `NMS_THRESHOLDS`.
    """
    metrics = {threshold: CocoMAP(dataset, backend=task.metric_backend) for threshold in NMS_THRESHOLDS}
    detector = task.detector.eval()
    for batch, _ in loader:
        if len(batch):
            dense = detector(batch.images.to(task.device)).scene.dense
            for threshold, metric in metrics.items():
                found = write_out(Dense(nms_threshold=threshold).suppress(dense), [t.size for t in batch.targets])
                metric.update([t.image_id for t in batch.targets], found)
    best = max(NMS_THRESHOLDS, key=lambda threshold: metrics[threshold].compute()["AP"])
    set_nms(task, best)
    return best


def set_nms(task: Task, threshold: float) -> None:
    """Set the threshold of the reference row and of a `dense` decoder."""
    for part in task.modules():
        if isinstance(part, Dense):
            part.nms_threshold = threshold


def test(task: Task, dataset: DetectionDataset, loader, trainer: lightning.Trainer, folder: Path) -> None:
    """Test, print the table, and write metrics, predictions, their matches with the truth and a plot to `folder`."""
    trainer.test(task, dataloaders=loader, verbose=False)
    if not trainer.is_global_zero:
        return
    decoder, reference = task.scores["decoder"], task.scores["dense_nms"]
    print(table(decoder, f"{len(task.metrics['decoder'].rows)} images, decoder (no NMS)"))
    print(f"  for reference, the dense head with NMS at {task.reference.nms_threshold}: "
          + ", ".join(f"{name} {reference[name]:.3f}" for name in ("AP", "AP50", "AP75", "AR100")))
    curves = decoder["precision"]
    (folder / "metrics.json").write_text(json.dumps(
        rounded({row: {k: v for k, v in scores.items() if k != "precision"} for row, scores in task.scores.items()}),
        indent=2,
    ))
    (folder / "predictions.json").write_text(json.dumps(task.metrics["decoder"].results()))
    for row, matches in task.matches.items():
        matches.save(folder / f"matches_{row}.npz")
    plot_precision_recall(curves, decoder["per_class"], folder / "precision_recall.png")
    if task.skipped:
        print(f"{len(task.skipped)} problem(s) with samples, named above and in the log")
    print(f"metrics.json, predictions.json and precision_recall.png are in {folder}")
