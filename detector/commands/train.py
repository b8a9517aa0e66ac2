"""A training run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from detector.build import build_datamodule, build_task, decoder_name, instantiate, plain
from detector.checkpoint import load_weights, read_checkpoint, start_from, thresholds_of
from detector.commands.frozen import scenes, take_over
from detector.commands.testing import choose_on_val, test
from detector.data.datamodule import DataModule
from detector.data.dataset import DetectionDataset
from detector.errors import InputError
from detector.evaluation import plots
from detector.old_names import modernised, refuse_composed
from detector.pictures.drawing import draw
from detector.predictor import Predictor
from detector.runs.cost import PeakMemory, macs
from detector.runs.incidental import INCIDENTAL
from detector.runs.record import commit, machine, run_record
from detector.training.task import Task

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float:
    """Train, keep the best and the last checkpoint, test one of them, write everything to the run's directory.

    With `continue`, a run that its directory shows to be finished is not repeated, and one that was interrupted goes on
    from its last checkpoint.

    Returns:
        The best validation AP.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    run = plain(config)
    refuse_composed(run)
    if run["initial"] and run["checkpoint"]:
        raise InputError("initial starts a run and checkpoint goes on with one: give one of them")
    folder = Path(run["output_dir"])
    take_over(run)
    if run["continue"]:
        _require_same_options(run, folder / "config.yaml")
        if (folder / "record.json").exists():
            log.info("%s is finished already", folder)
            return json.loads((folder / "train.json").read_text())["best_val_AP"]
        _go_on(run, folder)
    _open(folder, {**run, "checkpoint": config.checkpoint})
    memory = PeakMemory()
    lightning.seed_everything(run["seed"], workers=True, verbose=False)
    data, task, callbacks, trainer = _build(run)
    trained = _asked_for()
    _fit(run, data, task, callbacks, trainer)
    score, megabytes = float(callbacks["best"].best_model_score or 0.0), memory.megabytes()
    chosen = _choose(run, data, task, callbacks, trainer)
    loader = data.loader(data.test)
    test(task, data.test, loader, trainer, folder, title=f"{run['name']}, {decoder_name(run)}: test")
    task.to(trainer.strategy.root_device)  # as after training
    if trainer.is_global_zero:
        trained |= {"best_val_AP": round(score, 5), "checkpoint": chosen.name, "train_only": run["train_only"],
                    "initial": task.run.get("initial"), "peak_megabytes": megabytes and round(megabytes)}
        _write_records(run, data, task, loader, trainer, trained)
        _draw_some(task, data.test, folder / "pictures", run["pictures"])
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()  # or the next job of a sweep would go on with this one's
    return score


def _require_same_options(run: dict, file: Path) -> None:
    """Refuse to go on with a run of other options than it was started with, but for those that are incidental."""
    if not file.exists():
        return
    text = file.read_text()
    moved = rf"(?<![\w/.-]){re.escape(str(OmegaConf.create(text).output_dir))}(?=[/'\"\s])"
    text = re.sub(moved, lambda _: run["output_dir"], text)
    before = cast(dict, OmegaConf.to_container(OmegaConf.create(text)))
    changed = _differing(run, before) and _differing(run, modernised(before, str(file)))
    if changed:
        raise InputError(
            f"{file.parent} holds a run with other options ({', '.join(changed)}); give its own, or another output "
            "directory"
        )


def _differing(run: dict, before: dict) -> list[str]:
    """The groups in which two configs differ."""
    now, then = OmegaConf.create(run), OmegaConf.create(before)
    of_frozen = () if run["initial"] or run["train_only"] else ("new_decoder", "cache")  # which runs of before lack
    for key in (*INCIDENTAL, *of_frozen):
        OmegaConf.update(now, key, None)
        OmegaConf.update(then, key, None)
    return sorted(str(key) for key in now.keys() | then.keys() if now.get(key) != then.get(key))


def _go_on(run: dict, folder: Path) -> None:
    """Resume an interrupted run from its last checkpoint, its CSV file kept, which Lightning would empty."""
    last_checkpoint = folder / "checkpoints/last.ckpt"
    if last_checkpoint.exists():
        run["checkpoint"] = str(last_checkpoint)
        log.info("going on with %s", last_checkpoint)
        if rank_zero_only.rank == 0 and (folder / "csv").exists():  # type: ignore[attr-defined]  # Lightning sets it
            (folder / "csv").rename(folder / f"csv_{len(list(folder.glob('csv_*'))) + 1}")


def _open(folder: Path, run: dict) -> None:
    """Make the run's directory, its config in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(run), folder / "config.yaml")
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written to ({error}); give another") from error


def _build(run: dict) -> tuple[DataModule, Task, dict[str, Any], lightning.Trainer]:
    """Make what a run consists of, refusing what cannot be trained or tested."""
    if run["test_checkpoint"] not in ("best", "last"):
        raise InputError(f"test_checkpoint is {run['test_checkpoint']!r}; it must be best or last")
    if not all(run["callbacks"].get(name) for name in ("best", "last")):
        raise InputError(f"callbacks are {', '.join(run['callbacks'])}; best and last must be among them, and not null")
    started = read_checkpoint(run["checkpoint"] or run["initial"]) if run["checkpoint"] or run["initial"] else None
    data = build_datamodule(run)
    log.info("%d images to train, %d to validate, %d to test; classes: %s", len(data.train), len(data.val),
             len(data.test), ", ".join(data.class_names))
    if not (len(data.train) and len(data.test)):
        raise InputError("no images to train or none to test; give both some in data.dataset.splits")
    task = _started(run, data.class_names, started) if started else build_task(run, data.class_names)
    callbacks = {name: instantiate(callback) for name, callback in run["callbacks"].items() if callback}
    trainer = instantiate(
        run["trainer"], callbacks=list(callbacks.values()), logger=[instantiate(one) for one in run["logger"].values()]
    )
    return data, task, callbacks, trainer


def _started(run: dict, class_names: list[str], checkpoint: dict) -> Task:
    """What is trained, with the weights of the checkpoint from which a run goes on or starts."""
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


def _asked_for() -> dict:
    """The command, its options (of a sweep, this job's) and the code that runs."""
    options = sorted(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    command = shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    return {"command": command, "options": options, "commit": commit()}


def _fit(
    run: dict, data: DataModule, task: Task, callbacks: dict[str, ModelCheckpoint], trainer: lightning.Trainer
) -> None:
    """Train, and draw the curves; an interruption ends the command. What has nothing to train is validated and kept."""
    best, last = callbacks["best"], callbacks["last"]
    if any(parameter.requires_grad for parameter in task.parameters()):
        with scenes(run, data, task, trainer) if run["train_only"] else nullcontext():
            trainer.fit(task, datamodule=data, ckpt_path=run["checkpoint"], weights_only=True)
    else:
        log.info("%s has nothing to train, and all else is frozen", decoder_name(run))
        trainer.validate(task, datamodule=data, verbose=False)
        best.best_model_score = trainer.callback_metrics.get("val/AP")
        best.best_model_path = last.best_model_path = str(Path(run["output_dir"]) / "checkpoints/last.ckpt")
        trainer.save_checkpoint(last.best_model_path, weights_only=True)
    task.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    log.info("trained %d epochs in %.1f minutes; checkpoints are in %s", trainer.current_epoch, task.train_seconds / 60,
             last.dirpath)
    if trainer.is_global_zero:
        folder = Path(run["output_dir"])
        metrics = [*sorted(folder.glob("csv_*/metrics.csv")), *folder.glob("csv/metrics.csv")]
        plots.training(metrics, folder / "training.png")
    if trainer.interrupted:
        raise InputError(f"interrupted; go on with checkpoint={last.best_model_path}")


def _choose(
    run: dict, data: DataModule, task: Task, callbacks: dict[str, ModelCheckpoint], trainer: lightning.Trainer
) -> Path:
    """Load the weights that are to be tested, and choose on validation images what their checkpoint is to keep."""
    validated = task.metrics.get("val")
    use_best = run["test_checkpoint"] == "best" and validated and validated.objects
    file = Path(callbacks["best" if use_best else "last"].best_model_path or run["checkpoint"])  # resumed after its end
    checkpoint = read_checkpoint(file)
    load_weights(task, checkpoint)
    choose_on_val(task, data.val, data.loader(data.val), nms=run["tune_nms"])
    if trainer.is_global_zero and file.resolve().is_relative_to(Path(run["output_dir"]).resolve()):  # not another run's
        torch.save({**checkpoint, "run": task.run}, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
    return file


def _write_records(
    run: dict, data: DataModule, task: Task, loader: DataLoader, trainer: lightning.Trainer, trained: dict
) -> None:
    """Write what is known of the training, and the record of training and test."""
    batch, _ = next(iter(loader))
    trained |= {
        "machine": machine(trainer), "train_images": len(data.train), "epochs": trainer.current_epoch,
        "train_seconds": round(task.train_seconds, 1),
        "multiply_adds": macs(task.detector.eval(), batch.images[:1].to(task.device)) if len(batch) else None,
    }
    folder = Path(run["output_dir"])
    (folder / "train.json").write_text(json.dumps(trained, indent=2))
    (folder / "record.json").write_text(json.dumps(run_record(task, data.test, run, "test", trained), indent=2) + "\n")


def _draw_some(task: Task, dataset: DetectionDataset, folder: Path, count: int) -> None:
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
