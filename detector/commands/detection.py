"""What the commands do where the task is detection."""

from __future__ import annotations

import hashlib
import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import lightning
import numpy as np

from detector.build import build_datamodule, build_task, decoder_name
from detector.checkpoint import load_weights, start_from, thresholds_of
from detector.commands.frozen import scenes, take_over
from detector.commands.testing import choose_on_val, test
from detector.data.datamodule import DataModule
from detector.data.dataset import DetectionDataset
from detector.errors import InputError
from detector.old_names import refuse_composed
from detector.pictures.drawing import draw
from detector.predictor import Predictor
from detector.runs.record import run_record
from detector.training.task import Task

log = logging.getLogger(__name__)
__all__ = ["build_datamodule", "choose", "draw_some", "fitting", "load_weights", "name_of", "prepare", "run_record",
           "started", "test", "validated"]
MONITORED, BEST = "val/AP", "best_val_AP"
"""What the best checkpoint is chosen by, and what it is called in train.json."""
name_of = decoder_name


def prepare(run: dict, typed: list[str]) -> None:
    """Refuse what is of an earlier version or of the other task, and take over what a frozen detector brings."""
    for option in typed:
        group = option.lstrip("+~").partition("=")[0].partition(".")[0]
        if group in ("model", "reads", "preprocessing") or (
            group in ("data", "augmentation", "loss") and option.startswith(f"{group}=classification/")
        ):
            raise InputError(f"{option} is of the classification task; give one of its experiments too, such as "
                             "experiment=digits, or leave it out")
        if option.lstrip("+~").startswith("loss.dense") and run["loss"].get("proposals"):
            raise InputError(f"{option} does nothing: these proposals bring a loss of their own, whose options are "
                             "loss.proposals; leave it out")
    refuse_composed(run)
    take_over(run)


def started(run: dict, data: DataModule, checkpoint: dict | None) -> Task:
    """What is trained, with the weights of the checkpoint from which a run goes on or starts."""
    class_names = data.class_names
    if checkpoint is None:
        return build_task(run, class_names)
    task = build_task({**run, "backbone": {**run["backbone"], "weights": None}}, class_names)
    task.run["config"] = run
    if run["checkpoint"]:
        train_only = checkpoint["run"]["config"].get("train_only")
        if train_only != run["train_only"]:
            raise InputError(
                f"{run['checkpoint']} is of a run with train_only={train_only or 'null'}: pass that to go on with it, "
                "or initial= in place of checkpoint= to start from its weights"
            )
        load_weights(task, checkpoint)
        task.run["initial"] = checkpoint["run"].get("initial")
    else:
        taken = start_from(task, checkpoint, new_decoder=run["new_decoder"])
        log.info("starts from the weights of %s; the decoder %s", run["initial"], "too" if taken else "starts anew")
        task.run["initial"] = hashlib.sha256(Path(run["initial"]).read_bytes()).hexdigest()[:16]
    return task


def fitting(run: dict, data: DataModule, task: Task, trainer: lightning.Trainer) -> AbstractContextManager:
    """What surrounds the training: behind a frozen detector, a cache of what it makes of the images."""
    return scenes(run, data, task, trainer) if run["train_only"] else nullcontext()


def choose(run: dict, data: DataModule, task: Task) -> None:
    """Choose on validation images what the checkpoint is to keep."""
    choose_on_val(task, data.val, data.loader(data.val), nms=run["tune_nms"])


def validated(task: Task) -> bool:
    """Whether there were validation images that could tell which weights are best."""
    return "val" in task.metrics and bool(task.metrics["val"].objects)


def draw_some(task: Task, dataset: DetectionDataset, folder: Path, count: int) -> None:
    """Draw what is found in some images, evenly from the data set."""
    canvas, thresholds = dataset.transform.canvas, thresholds_of(task.run)
    predictor = Predictor(task.detector, class_names=dataset.class_names, canvas=canvas, thresholds=thresholds)
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int).tolist():
        record = dataset.records[index]
        try:
            image = dataset.read(record)
        except InputError:
            continue  # named when it was tested
        draw(image, predictor.predict(image)).save(folder / f"test_{record.image_id}.png")
    print(f"pictures are in {folder}")
