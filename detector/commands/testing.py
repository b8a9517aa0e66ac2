"""Testing a trained task, and writing down what comes out."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import lightning

from detector.data.dataset import DetectionDataset
from detector.evaluation.coco_map import table
from detector.evaluation.matches import Matches
from detector.evaluation.precision_recall import plot_precision_recall
from detector.evaluation.record import rounded
from detector.task import Task

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips say nothing about the run
warnings.filterwarnings("ignore", ".*module.s. in eval mode at the start")  # frozen batch-norm is meant to be
warnings.filterwarnings("ignore", ".*LeafSpec")  # Lightning's own, of PyTorch's next version


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
    for row, metric in (("decoder", task.metrics["decoder"]), ("dense_nms", task.metrics["dense_nms"])):
        Matches.of(metric).save(folder / f"matches_{row}.npz")
    plot_precision_recall(curves, decoder["per_class"], folder / "precision_recall.png")
    if task.skipped:
        print(f"{len(task.skipped)} problem(s) with samples, named above and in the log")
    print(f"metrics.json, predictions.json and precision_recall.png are in {folder}")
