"""Testing a trained task, and writing down what comes out."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning import Trainer
from PIL import Image

from detector.checkpoint import thresholds_of
from detector.data.dataset import DetectionDataset
from detector.errors import InputError
from detector.evaluation.analysis import analyse, rounded, write_tables
from detector.evaluation.calibration import calibration, calibration_error
from detector.evaluation.coco_map import CocoMAP, table
from detector.evaluation.crowding import CROWD_SCORES, duplicates
from detector.evaluation.matches import Matches
from detector.evaluation.report import worst_and_best, write_report
from detector.evaluation.thresholds import best_thresholds
from detector.model import Detector
from detector.pictures.drawing import side_by_side
from detector.postprocess import detections_of, suppress
from detector.training.task import Task

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips say nothing about the run
warnings.filterwarnings("ignore", ".*module.s. in eval mode at the start")  # frozen batch-norm is meant to be
warnings.filterwarnings("ignore", ".*LeafSpec")  # Lightning's own, of PyTorch's next version


log = logging.getLogger(__name__)
EXAMPLES = 4
"""Worst and best images shown in a report."""
LEAST_FOUND = 10
"""Validation objects of a class that must be found for a threshold of its own."""
NMS_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@torch.inference_mode()
def choose_on_val(task: Task, dataset: DetectionDataset, loader, *, nms: bool) -> None:
    """Choose, on validation images, what is not learnt.

    The score of each class from which on its F1 is best goes into `task.run["thresholds"]` (0.5 for a class of which
    fewer than `LEAST_FOUND` objects are found there); where `nms` is set, non-maximum suppression, wherever it is used,
    gets the threshold of `NMS_THRESHOLDS` with the best AP. Without validation objects nothing is chosen.
    """
    predicted = task.metric_of(dataset)
    if not predicted.objects:
        return
    thinned = {t: task.metric_of(dataset) for t in (NMS_THRESHOLDS if nms else ())}
    detector = task.detector.eval()
    device = next(detector.parameters()).device
    for batch, _ in loader:
        if len(batch):
            output = detector(batch.images.to(device))
            ids, sizes = [t.image_id for t in batch.targets], [t.size for t in batch.targets]
            predicted.update(ids, detections_of(output.stages[-1], sizes))
            for threshold, metric in thinned.items():
                metric.update(ids, detections_of(suppress(output.scene.dense, threshold=threshold), sizes))
    for metric in (predicted, *thinned.values()):
        metric.gather()
    if nms:
        set_nms(task, max(NMS_THRESHOLDS, key=lambda threshold: thinned[threshold].compute()["AP"]))
        log.info("on val, non-maximum suppression does best at IoU %s", task.nms_threshold)
    thresholds, _ = best_thresholds(Matches.of(predicted), len(dataset.class_names), LEAST_FOUND)
    task.run["thresholds"] = [round(value, 4) for value in thresholds.tolist()]


def set_nms(task: Task, threshold: float) -> None:
    """Set the threshold of the reference row and of a decoder that has one."""
    task.nms_threshold = threshold
    if hasattr(task.detector.decoder, "nms_threshold"):
        task.detector.decoder.nms_threshold = threshold


def test(
    task: Task, dataset: DetectionDataset, loader, trainer: Trainer, folder: Path, *, title: str,
    compare: Callable[[], dict] | None = None,
) -> dict | None:
    """Test, print the table, and write metrics, predictions, their matches with the ground truth, the analysis and the
    report to `folder`.

    Returns:
        What `compare`, called after the test, returns: a comparison with suppression, for the report.
    """
    trainer.test(task, dataloaders=loader, verbose=False)
    if not trainer.is_global_zero:
        return None
    decoder, reference = task.scores["decoder"], task.scores["dense_nms"]
    metric, matches = task.metrics["decoder"], task.matches["decoder"]
    suppression = _suppression(task.detector)
    print(table(decoder, f"{len(metric.rows)} images, decoder ({suppression})", CROWD_SCORES))
    print(f"  for reference, the dense head with NMS at {task.nms_threshold}: "
          + ", ".join(f"{name} {reference[name]:.3f}" for name in ("AP", "AP50", "AP75", "AR100", "MR^-2", "JI")))
    (folder / "metrics.json").write_text(json.dumps(
        rounded({row: {k: v for k, v in scores.items() if k != "precision"} for row, scores in task.scores.items()}),
        indent=2,
    ))
    (folder / "predictions.json").write_text(json.dumps(metric.results()))
    for row, of_row in task.matches.items():
        of_row.save(folder / f"matches_{row}.npz")
    thresholds = np.array(thresholds_of(task.run))
    tables = analyse(metric, matches, decoder, thresholds)
    write_tables(tables, folder / "analysis")
    compared = compare() if compare else None
    write_report(
        folder / "report.html", title=title, facts=_facts(task, metric, matches, thresholds), scores=decoder,
        reference=reference, suppression=suppression, nms_threshold=task.nms_threshold, compared=compared,
        tables=tables, folder=folder / "analysis", examples=_examples(dataset, metric, matches, thresholds),
    )
    if task.skipped:
        print(f"{len(task.skipped)} problem(s) with samples, named above and in the log")
    print(f"metrics.json, predictions.json, analysis/ and report.html are in {folder}")
    return compared


def _suppression(detector: Detector) -> str:
    """What suppresses boxes of the decoder, for people."""
    of_proposals = getattr(detector.proposals, "nms_threshold", None) if detector.decoder.proposals else None
    none = "no NMS" if of_proposals is None else f"NMS of proposals at {of_proposals}"
    return getattr(detector.decoder, "suppression", none)


def _facts(task: Task, metric: CocoMAP, matches: Matches, thresholds: np.ndarray) -> dict[str, object]:
    images, sure = max(1, len(metric.rows)), (matches.scores >= thresholds[matches.labels]).sum()
    return {
        "images, objects": f"{len(metric.rows)}, {len(matches.object_labels)}",
        "decoder": type(task.detector.decoder).__name__,
        "boxes an image": f"{len(matches.scores) / images:.1f}, {sure / images:.1f} from the chosen scores on",
        "duplicates an image": f"{duplicates(matches, thresholds):.3f}",
        "mean distance of score and precision": f"{calibration_error(calibration(matches)):.3f}",
        "chosen scores": ", ".join(f"{name} {t:.2f}" for name, t in zip(metric.class_names, thresholds)),
    }


def _examples(
    dataset: DetectionDataset, metric: CocoMAP, matches: Matches, thresholds: np.ndarray
) -> list[tuple[str, list[Image.Image]]]:
    """The worst and the best images, drawn; those that do not open are left out, they were named in the test."""
    records = {record.image_id: record for record in dataset.records}
    made = []
    for heading, ids in zip(("Worst", "Best"), worst_and_best(matches, thresholds, EXAMPLES)):
        pictures = []
        for image_id in ids:
            record, found = records[image_id], metric.detections(image_id)
            try:
                image = dataset.read(record)
            except InputError:
                continue
            sure = found[found.scores >= torch.from_numpy(thresholds)[found.labels]]
            pictures.append(
                side_by_side(image, record.boxes.tolist(), record.labels.tolist(), metric.class_names, sure)
            )
        made.append((heading, pictures))
    return made
