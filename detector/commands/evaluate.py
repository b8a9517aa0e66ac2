"""Testing a checkpoint."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import lightning
import torch
from omegaconf import DictConfig, OmegaConf

from detector.build import build_datamodule, decoder_name, plain
from detector.checkpoint import buildable, load_task, read_checkpoint
from detector.commands.say_plainly import require_writable
from detector.commands.suppression_comparison import SuppressionComparison
from detector.commands.testing import set_nms, test
from detector.errors import InputError
from detector.evaluation.analysis import rounded
from detector.evaluation.fiftyone_folder import require_empty, write_fiftyone
from detector.runs.record import run_record


def evaluate(config: DictConfig) -> float:
    """Test a checkpoint on a split of its own or other data.

    Returns:
        The decoder's AP.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    checkpoint = read_checkpoint(config.checkpoint)
    folder = Path(config.output_dir)
    require_writable(folder, "output_dir")  # here and below: before the work, not after it
    if config.record:
        trained = _trained(Path(config.checkpoint).parent.parent / "train.json")
        if Path(config.record).is_dir():
            raise InputError(f"record={config.record} is a folder; give a file")
        require_writable(Path(config.record).parent, "record")
    if config.fiftyone:
        require_empty(Path(config.fiftyone))
        require_writable(Path(config.fiftyone), "fiftyone")
        if folder.samefile(config.fiftyone):
            raise InputError(f"fiftyone and output_dir are both {folder}; give fiftyone=FOLDER another name")
    run = checkpoint["run"]["config"]
    own = {} if config.get("data") else buildable(checkpoint, "data", allow=config.allow)
    if config.root and not own:  # before `plain` misses it
        OmegaConf.update(config, "data.dataset.root", config.root, force_add=True)
    settings = {**run, "data": dict(own["data"]) if own else plain(config.data), "augmentation": None}
    if config.root:
        settings["data"]["dataset"] = {**settings["data"]["dataset"], "root": config.root}
    for key in ("batch_size", "num_workers"):
        if config[key] is not None:
            settings["data"][key] = config[key]
    settings["data"]["canvas"] = run["data"]["canvas"]
    task = load_task(checkpoint, allow=config.allow)
    task.metric_backend = config.metric_backend
    task.max_detections = config.max_detections or task.max_detections
    if config.nms_threshold:
        set_nms(task, config.nms_threshold)
    data = build_datamodule(settings, class_names=checkpoint["run"]["class_names"])
    dataset = data.split(config.split)
    suppression = SuppressionComparison() if config.suppression else None
    trainer = lightning.Trainer(
        accelerator=config.accelerator, devices=1, precision=config.precision, logger=False, enable_checkpointing=False,
        enable_model_summary=False, default_root_dir=folder,
        callbacks=[lightning.pytorch.callbacks.RichProgressBar(), *([suppression] if suppression else [])],
    )
    compared = test(
        task, dataset, data.loader(dataset), trainer, folder,
        title=f"{run['name']}, {decoder_name(run)}: {config.split}",
        compare=partial(suppression.report, task, folder, seed=config.seed) if suppression else None,
    )
    if config.fiftyone:
        folder, metric = Path(config.fiftyone), task.metrics["decoder"]
        count = write_fiftyone(folder, split=config.split, dataset=dataset, metric=metric)
        print(f"{count} images, ground truth and predictions for FiftyOne are in {config.fiftyone}")
    if config.record:
        record = run_record(task, dataset, settings, config.split, trained)
        record |= {"suppression": rounded(compared)} if compared else {}
        Path(config.record).write_text(json.dumps(record, indent=2) + "\n")
        print(f"record: {config.record}")
    return task.scores["decoder"]["AP"]


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
