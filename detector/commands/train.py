"""A training run."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from detector.build import instantiate, is_classification, plain
from detector.checkpoint import read_checkpoint
from detector.commands.which_task import work_of
from detector.data.datamodule import DataModule
from detector.errors import InputError
from detector.evaluation import plots
from detector.old_names import modernised
from detector.runs.cost import PeakMemory, macs
from detector.runs.incidental import INCIDENTAL
from detector.runs.record import commit, machine
from detector.training.base_task import BaseTask

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float:
    """Train, keep the best and the last checkpoint, test one of them, write everything to the run's directory.

    With `continue`, a run that its directory shows to be finished is not repeated, and one that was interrupted goes on
    from its last checkpoint.

    Returns:
        The best validation AP; of a classifier, accuracy.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    run = plain(config)
    work = work_of(run)
    if run["initial"] and run["checkpoint"]:
        raise InputError("initial starts a run and checkpoint goes on with one: give one of them")
    folder = Path(run["output_dir"])
    work.prepare(run, _typed())
    if run["continue"]:
        _require_same_options(run, folder / "config.yaml")
        if (folder / "record.json").exists():
            log.info("%s is finished already", folder)
            return json.loads((folder / "train.json").read_text())[work.BEST]
        _go_on(run, folder)
    _open(folder, {**run, "checkpoint": config.checkpoint})
    memory = PeakMemory()
    lightning.seed_everything(run["seed"], workers=True, verbose=False)
    data, task, callbacks, trainer = _build(run, work)
    trained = _asked_for()
    _fit(run, work, data, task, callbacks, trainer)
    score, megabytes = float(callbacks["best"].best_model_score or 0.0), memory.megabytes()
    chosen = _choose(run, work, data, task, callbacks, trainer)
    loader = data.loader(data.test)
    work.test(task, data.test, loader, trainer, folder, title=f"{run['name']}, {work.name_of(run)}: test")
    task.to(trainer.strategy.root_device)  # as after training
    if trainer.is_global_zero:
        trained |= {work.BEST: round(score, 5), "checkpoint": chosen.name, "train_only": run.get("train_only"),
                    "initial": task.run.get("initial"), "peak_megabytes": megabytes and round(megabytes)}
        _write_records(run, work, data, task, loader, trainer, trained)
        work.draw_some(task, data.test, folder / "pictures", run["pictures"])
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
    changed = _differing(run, before)
    if changed and not is_classification(before):
        changed = _differing(run, modernised(before, str(file)))
    if changed:
        raise InputError(
            f"{file.parent} holds a run with other options ({', '.join(changed)}); give its own, or another output "
            "directory"
        )


def _differing(run: dict, before: dict) -> list[str]:
    """The groups in which two configs differ."""
    now, then = OmegaConf.create(run), OmegaConf.create(before)
    of_frozen = () if run["initial"] or run.get("train_only") else ("new_decoder", "cache")  # which runs of before lack
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


def _build(run: dict, work: ModuleType) -> tuple[DataModule, BaseTask, dict[str, Any], lightning.Trainer]:
    """Make what a run consists of, refusing what cannot be trained or tested."""
    if run["test_checkpoint"] not in ("best", "last"):
        raise InputError(f"test_checkpoint is {run['test_checkpoint']!r}; it must be best or last")
    if not all(run["callbacks"].get(name) for name in ("best", "last")):
        raise InputError(f"callbacks are {', '.join(run['callbacks'])}; best and last must be among them, and not null")
    started = read_checkpoint(run["checkpoint"] or run["initial"]) if run["checkpoint"] or run["initial"] else None
    data = work.build_datamodule(run)
    log.info("%d images to train, %d to validate, %d to test; classes: %s", len(data.train), len(data.val),
             len(data.test), ", ".join(data.class_names))
    if not (len(data.train) and len(data.test)):
        raise InputError("no images to train or none to test; give both some in data.dataset.splits")
    task = work.started(run, data, started)
    callbacks = {name: instantiate(callback) for name, callback in run["callbacks"].items() if callback}
    trainer = instantiate(
        run["trainer"], callbacks=list(callbacks.values()), logger=[instantiate(one) for one in run["logger"].values()]
    )
    return data, task, callbacks, trainer


def _typed() -> list[str]:
    """The options of the command line, of a sweep this job's."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def _asked_for() -> dict:
    """The command, its options and the code that runs."""
    command = shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    return {"command": command, "options": sorted(_typed()), "commit": commit()}


def _fit(
    run: dict, work: ModuleType, data: DataModule, task: BaseTask, callbacks: dict[str, ModelCheckpoint],
    trainer: lightning.Trainer,
) -> None:
    """Train, and draw the curves; an interruption ends the command. What has nothing to train is validated and kept."""
    best, last = callbacks["best"], callbacks["last"]
    if any(parameter.requires_grad for parameter in task.parameters()):
        with work.fitting(run, data, task, trainer):
            trainer.fit(task, datamodule=data, ckpt_path=run["checkpoint"], weights_only=True)
    else:
        log.info("%s has nothing to train, and all else is frozen", work.name_of(run))
        trainer.validate(task, datamodule=data, verbose=False)
        best.best_model_score = trainer.callback_metrics.get(work.MONITORED)
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
    run: dict, work: ModuleType, data: DataModule, task: BaseTask, callbacks: dict[str, ModelCheckpoint],
    trainer: lightning.Trainer,
) -> Path:
    """Load the weights that are to be tested, and choose on validation images what their checkpoint is to keep."""
    use_best = run["test_checkpoint"] == "best" and work.validated(task)
    file = Path(callbacks["best" if use_best else "last"].best_model_path or run["checkpoint"])  # resumed after its end
    checkpoint = read_checkpoint(file)
    work.load_weights(task, checkpoint)
    work.choose(run, data, task)
    if trainer.is_global_zero and file.resolve().is_relative_to(Path(run["output_dir"]).resolve()):  # not another run's
        torch.save({**checkpoint, "run": task.run}, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
    return file


def _write_records(
    run: dict, work: ModuleType, data: DataModule, task: BaseTask, loader: DataLoader, trainer: lightning.Trainer,
    trained: dict,
) -> None:
    """Write what is known of the training, and the record of training and test."""
    batch, _ = next(iter(loader))
    trained |= {
        "machine": machine(trainer), "train_images": len(data.train), "epochs": trainer.current_epoch,
        "train_seconds": round(task.train_seconds, 1),
        "multiply_adds": macs(task.network.eval(), batch.images[:1].to(task.device)) if len(batch) else None,
    }
    folder = Path(run["output_dir"])
    (folder / "train.json").write_text(json.dumps(trained, indent=2))
    record = work.run_record(task, data.test, run, "test", trained)
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n")

