"""What the commands do: a training run, an evaluation, predictions."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
import warnings
from glob import glob
from pathlib import Path

import lightning
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.progress import track

from detector.build import (
    build_datamodule,
    build_task,
    instantiate,
    load_task,
    load_weights,
    plain,
    read_checkpoint,
)
from detector.data.dataset import DetectionDataset, read_image
from detector.drawing import draw
from detector.errors import InputError
from detector.evaluation.coco_map import table
from detector.evaluation.precision_recall import plot_precision_recall
from detector.evaluation.record import commit, machine, rounded, run_record
from detector.predictor import Predictor, load
from detector.task import Task

log = logging.getLogger(__name__)
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips say nothing about the run
warnings.filterwarnings("ignore", ".*module.s. in eval mode at the start")  # frozen batch-norm is meant to be
warnings.filterwarnings("ignore", ".*LeafSpec")  # Lightning's own, of PyTorch's next version
IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}


def train(config: DictConfig) -> float:
    """Train, keep the best and the last checkpoint, test one of them, write everything to the run's directory.

    Returns:
        The best validation AP.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    run = plain(config)
    if run["test_checkpoint"] not in ("best", "last"):
        raise InputError(f"test_checkpoint is {run['test_checkpoint']!r}; it must be best or last")
    folder = Path(run["output_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    lightning.seed_everything(run["seed"], workers=True, verbose=False)
    resumed = read_checkpoint(run["checkpoint"]) if run["checkpoint"] else None

    data = build_datamodule(run)
    log.info("%d images to train, %d to validate, %d to test; classes: %s", len(data.train), len(data.val),
             len(data.test), ", ".join(data.class_names))
    task = build_task(run, data.class_names)
    if resumed:
        load_weights(task, resumed)  # says what does not fit before anything starts
    callbacks = {name: instantiate(callback) for name, callback in run["callbacks"].items() if callback}
    trainer: lightning.Trainer = instantiate(
        run["trainer"], callbacks=list(callbacks.values()), logger=[instantiate(one) for one in run["logger"].values()]
    )
    made_by = commit()
    started = time.time()
    trainer.fit(task, datamodule=data, ckpt_path=run["checkpoint"], weights_only=True)
    seconds = time.time() - started
    best, last = callbacks["best"], callbacks["last"]
    log.info("trained %d epochs in %.1f minutes; checkpoints are in %s", trainer.current_epoch, seconds / 60,
             last.dirpath)
    if trainer.interrupted:
        raise InputError(f"interrupted; go on with checkpoint={last.best_model_path}")
    validated = task.metrics.get("val")
    use_best = run["test_checkpoint"] == "best" and validated and validated.objects
    chosen = (best if use_best else last).best_model_path or run["checkpoint"]  # resumed after its last epoch
    if trainer.is_global_zero:
        (folder / "train.json").write_text(json.dumps(
            {"command": _command(), "commit": made_by, "machine": machine(trainer), "images": len(data.train),
             "epochs": trainer.current_epoch, "train_seconds": round(seconds, 1), "checkpoint": Path(chosen).name},
            indent=2,
        ))
    load_weights(task, read_checkpoint(chosen))
    _test(task, data.test, data.loader(data.test), trainer, folder)
    if trainer.is_global_zero:
        _draw_some(task, data.test, folder / "pictures", run["pictures"], tuple(run["data"]["canvas"]))
    return float(best.best_model_score) if best.best_model_score is not None else 0.0


def evaluate(config: DictConfig) -> float:
    """Test a checkpoint on a split of its own or other data.

    Returns:
        The decoder's AP.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    checkpoint = read_checkpoint(config.checkpoint)
    run = checkpoint["run"]["config"]
    settings = {**run, "data": plain(config.data) if config.get("data") else dict(run["data"])}
    if config.root:
        settings["data"]["dataset"] = {**settings["data"]["dataset"], "root": config.root}
    for key in ("batch_size", "num_workers"):
        if config[key] is not None:
            settings["data"][key] = config[key]
    settings["data"]["canvas"] = run["data"]["canvas"]
    task = load_task(checkpoint)
    task.metric_backend = config.metric_backend
    task.reference.nms_threshold = config.nms_threshold or task.reference.nms_threshold
    data = build_datamodule(settings, class_names=checkpoint["run"]["class_names"])
    dataset = data.split(config.split)
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = lightning.Trainer(
        accelerator=config.accelerator, devices=1, precision=config.precision, logger=False, enable_checkpointing=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=[lightning.pytorch.callbacks.RichProgressBar()],
    )
    _test(task, dataset, data.loader(dataset), trainer, folder)
    if config.record:
        record = run_record(task, dataset, settings, config.split, Path(config.checkpoint))
        Path(config.record).parent.mkdir(parents=True, exist_ok=True)
        Path(config.record).write_text(json.dumps(record, indent=2) + "\n")
        print(f"record: {config.record}")
    return task.scores["decoder"]["AP"]


def predict(config: DictConfig) -> None:
    """Draw what is found in pictures and write it as JSON."""
    if config.threads:
        torch.set_num_threads(config.threads)
    files = _pictures(config.source)
    predictor = load(config.checkpoint, device=config.device)
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    found, unreadable = [], 0
    for file in track(files, description="predicting"):
        try:
            detections = predictor.predict(file, threshold=config.threshold)
        except InputError as error:
            log.warning("%s; skipped", error)
            unreadable += 1
            continue
        draw(read_image(file), detections).save(folder / f"{file.stem}.png")
        found.append({
            "file": str(file),
            "detections": [
                {"box": [round(v, 2) for v in box], "score": round(score, 4), "class": name, "step": step + 1}
                for box, score, name, step in zip(
                    detections.boxes.tolist(), detections.scores.tolist(), detections.names, detections.steps.tolist()
                )
            ],
        })
    (folder / "predictions.json").write_text(json.dumps(found, indent=1))
    skipped = f", {unreadable} unreadable skipped" if unreadable else ""
    print(f"{len(found)} pictures{skipped}; drawn pictures and predictions.json are in {folder}")


def _test(task: Task, dataset: DetectionDataset, loader, trainer: lightning.Trainer, folder: Path) -> None:
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
    plot_precision_recall(curves, decoder["per_class"], folder / "precision_recall.png")
    if task.skipped:
        print(f"{len(task.skipped)} problem(s) with samples, named above and in the log")
    print(f"metrics.json, predictions.json and precision_recall.png are in {folder}")


def _draw_some(task: Task, dataset: DetectionDataset, folder: Path, count: int, canvas: tuple[int, int]) -> None:
    predictor = Predictor(task.detector, class_names=dataset.class_names, canvas=canvas)
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int).tolist():
        record = dataset.records[index]
        try:
            image = dataset.read(record)
        except InputError:
            continue  # named when it was tested
        draw(image, predictor.predict(image)).save(folder / f"test_{record.image_id}.png")
    print(f"pictures are in {folder}")


def _pictures(source: str) -> list[Path]:
    if Path(source).is_dir():
        files = sorted(p for p in Path(source).iterdir() if p.suffix.lower() in IMAGE_ENDINGS)
    else:
        files = [Path(name) for name in sorted(glob(source, recursive=True))]
    if not files:
        raise InputError(f"no pictures at {source!r}; give a picture, a folder that holds some, or a pattern in quotes")
    return files


def _command() -> str:
    return shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
