"""Testing a checkpoint."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import lightning
import torch
from omegaconf import DictConfig, OmegaConf

from detector.build import build_datamodule, decoder_name, is_classification, plain
from detector.checkpoint import buildable, load_task, read_checkpoint
from detector.classification.checkpoint import buildable_preprocessing
from detector.classification.checkpoint import load_task as load_classification_task
from detector.commands import classification
from detector.commands.say_plainly import require_writable
from detector.commands.suppression_comparison import SuppressionComparison
from detector.commands.testing import set_nms, test
from detector.errors import InputError
from detector.evaluation.analysis import rounded
from detector.evaluation.fiftyone_folder import require_empty, write_fiftyone
from detector.runs.record import run_record

OF_DETECTION = ("suppression", "fiftyone", "nms_threshold", "max_detections")
"""Options that do nothing with a classifier."""


def evaluate(config: DictConfig) -> float:
    """Test a checkpoint on a split of its own or other data.

    Returns:
        The decoder's AP; of a classifier, accuracy.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    checkpoint = read_checkpoint(config.checkpoint)
    folder, trained = Path(config.output_dir), None
    require_writable(folder, "output_dir")  # here and below: before the work, not after it
    if config.record:
        trained = _trained(Path(config.checkpoint).parent.parent / "train.json")
        if Path(config.record).is_dir():
            raise InputError(f"record={config.record} is a folder; give a file")
        require_writable(Path(config.record).parent, "record")
    if is_classification(checkpoint["run"]["config"]):
        return _classifier(config, checkpoint, folder, trained)
    return _detector(config, checkpoint, folder, trained)


def _detector(config: DictConfig, checkpoint: dict, folder: Path, trained: dict | None) -> float:
    if config.fiftyone:
        require_empty(Path(config.fiftyone))
        require_writable(Path(config.fiftyone), "fiftyone")
        if folder.samefile(config.fiftyone):
            raise InputError(f"fiftyone and output_dir are both {folder}; give fiftyone=FOLDER another name")
    run, settings = checkpoint["run"]["config"], _settings(config, checkpoint)
    task = load_task(checkpoint, allow=config.allow)
    task.metric_backend = config.metric_backend
    task.max_detections = config.max_detections or task.max_detections
    if config.nms_threshold:
        set_nms(task, config.nms_threshold)
    data = build_datamodule(settings, class_names=checkpoint["run"]["class_names"])
    dataset = data.split(config.split)
    suppression = SuppressionComparison() if config.suppression else None
    compared = test(
        task, dataset, data.loader(dataset), _trainer(config, folder, *([suppression] if suppression else [])), folder,
        title=f"{run['name']}, {decoder_name(run)}: {config.split}",
        compare=partial(suppression.report, task, folder, seed=config.seed) if suppression else None,
    )
    if config.fiftyone:
        folder, metric = Path(config.fiftyone), task.metrics["decoder"]
        count = write_fiftyone(folder, split=config.split, dataset=dataset, metric=metric)
        print(f"{count} images, ground truth and predictions for FiftyOne are in {config.fiftyone}")
    if trained:
        record = run_record(task, dataset, settings, config.split, trained)
        _write_record(record | ({"suppression": rounded(compared)} if compared else {}), config.record)
    return task.scores["decoder"]["AP"]


def _classifier(config: DictConfig, checkpoint: dict, folder: Path, trained: dict | None) -> float:
    if asked := [option for option in OF_DETECTION if config[option]]:
        raise InputError(f"{', '.join(asked)} is for detectors, {config.checkpoint} is a classifier; leave it out")
    run, settings = checkpoint["run"]["config"], _settings(config, checkpoint)
    task = load_classification_task(checkpoint, allow=config.allow)
    settings |= buildable_preprocessing(checkpoint, config.allow)
    data = classification.build_datamodule(settings, class_names=checkpoint["run"]["class_names"])
    dataset = data.split(config.split)
    classification.test(
        task, dataset, data.loader(dataset), _trainer(config, folder), folder,
        title=f"{run['name']}, {classification.name_of(run)}: {config.split}",
    )
    if trained:
        _write_record(classification.run_record(task, dataset, settings, config.split, trained), config.record)
    assert task.answers
    return float(task.answers.accuracy()[0])


def _settings(config: DictConfig, checkpoint: dict) -> dict:
    """The run's config with the data of this test in it."""
    run = checkpoint["run"]["config"]
    own = {} if config.get("data") else buildable(checkpoint, "data", allow=config.allow)
    if config.root and not own:  # before `plain` misses it
        OmegaConf.update(config, "data.dataset.root", config.root, force_add=True)
    settings = {**run, "data": dict(own["data"]) if own else plain(config.data), "augmentation": None}
    ours, theirs = is_classification(run), str(settings["data"]["dataset"].get("_target_"))
    if theirs.startswith("detector.") and theirs.startswith("detector.classification.") != ours:
        kinds = ("a classifier", "of detection") if ours else ("a detector", "of classification")
        raise InputError(f"{config.checkpoint} is {kinds[0]}, the data is {kinds[1]}; give data of its task")
    if config.root:
        settings["data"]["dataset"] = {**settings["data"]["dataset"], "root": config.root}
    for key in ("batch_size", "num_workers"):
        if config[key] is not None:
            settings["data"][key] = config[key]
    settings["data"]["canvas"] = run["data"]["canvas"]
    return settings


def _trainer(config: DictConfig, folder: Path, *callbacks: lightning.Callback) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=config.accelerator, devices=1, precision=config.precision, logger=False, enable_checkpointing=False,
        enable_model_summary=False, default_root_dir=folder,
        callbacks=[lightning.pytorch.callbacks.RichProgressBar(), *callbacks],
    )


def _write_record(record: dict, file: str) -> None:
    Path(file).write_text(json.dumps(record, indent=2) + "\n")
    print(f"record: {file}")


def _trained(file: Path) -> dict:
    """What a training run wrote down about itself."""
    try:
        trained = json.loads(file.read_text())
        needed = {"command", "options", "commit", "machine", "train_images", "checkpoint", "epochs", "train_seconds",
                  "multiply_adds", "peak_megabytes"}
        if lacking := needed - {*trained}:
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}, which record= needs, cannot be used ({error}); give a checkpoint in its run's "
                         "directory, or leave record= out") from error
    return trained
