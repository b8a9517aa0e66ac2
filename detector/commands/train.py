"""A training run."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from pathlib import Path

import lightning
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from detector.build import build_datamodule, build_task, decoder_name, instantiate, plain
from detector.checkpoint import load_weights, read_checkpoint, thresholds_of
from detector.commands.testing import choose_on_val, test
from detector.data.dataset import DetectionDataset
from detector.pictures.drawing import draw
from detector.errors import InputError
from detector.evaluation import plots
from detector.runs.cost import PeakMemory, multiply_adds
from detector.runs.record import commit, machine, run_record
from detector.predictor import Predictor
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
    if run["test_checkpoint"] not in ("best", "last"):
        raise InputError(f"test_checkpoint is {run['test_checkpoint']!r}; it must be best or last")
    folder = Path(run["output_dir"])
    if run["continue"]:
        _same_options(run, folder / "config.yaml")
        if (folder / "record.json").exists():
            log.info("%s is finished already", folder)
            return json.loads((folder / "train.json").read_text())["best_val_AP"]
        last_checkpoint = folder / "checkpoints/last.ckpt"
        if last_checkpoint.exists():
            run["checkpoint"] = str(last_checkpoint)
            log.info("going on with %s", last_checkpoint)
            if rank_zero_only.rank == 0 and (folder / "csv").exists():  # Lightning would empty it
                (folder / "csv").rename(folder / f"csv_{len(list(folder.glob('csv_*'))) + 1}")
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    memory = PeakMemory()
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
    trainer.fit(task, datamodule=data, ckpt_path=run["checkpoint"], weights_only=True)
    best, last = callbacks["best"], callbacks["last"]
    log.info("trained %d epochs in %.1f minutes; checkpoints are in %s", trainer.current_epoch, task.train_seconds / 60,
             last.dirpath)
    if trainer.is_global_zero:
        plots.training(sorted(folder.glob("csv_*/metrics.csv")) + list(folder.glob("csv/metrics.csv")), folder / "training.png")
    if trainer.interrupted:
        raise InputError(f"interrupted; go on with checkpoint={last.best_model_path}")
    validated = task.metrics.get("val")
    use_best = run["test_checkpoint"] == "best" and validated and validated.objects
    chosen = (best if use_best else last).best_model_path or run["checkpoint"]  # resumed after its last epoch
    score = float(best.best_model_score) if best.best_model_score is not None else 0.0
    megabytes = memory.megabytes()
    load_weights(task, read_checkpoint(chosen))
    choose_on_val(task, data.val, data.loader(data.val), nms=run["tune_nms"])
    if trainer.is_global_zero and Path(chosen).resolve().is_relative_to(folder.resolve()):  # not in another run's
        _keep_choices(Path(chosen), task.run)
    loader = data.loader(data.test)
    test(task, data.test, loader, trainer, folder, title=f"{run['name']}, {decoder_name(run)}: test")
    if trainer.is_global_zero:
        batch, _ = next(iter(loader))
        trained = {
            "command": _command(), "options": _options(), "commit": made_by, "machine": machine(trainer),
            "train_images": len(data.train), "epochs": trainer.current_epoch,
            "train_seconds": round(task.train_seconds, 1), "best_val_AP": round(score, 5),
            "checkpoint": Path(chosen).name, "peak_megabytes": megabytes and round(megabytes),
            "multiply_adds": multiply_adds(task.detector.eval(), batch.images[:1].to(task.device)) if len(batch) else None,
        }
        (folder / "train.json").write_text(json.dumps(trained, indent=2))
        record = run_record(task, data.test, run, "test", trained)
        (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n")
        _draw_some(task, data.test, folder / "pictures", run["pictures"], tuple(run["data"]["canvas"]))
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()  # or the next job of a sweep would go on with this one's
    return score


def _keep_choices(file: Path, run: dict) -> None:
    """Write what was chosen on validation images into a checkpoint."""
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    checkpoint["run"] = run
    torch.save(checkpoint, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)


def _draw_some(task: Task, dataset: DetectionDataset, folder: Path, count: int, canvas: tuple[int, int]) -> None:
    predictor = Predictor(task.detector, class_names=dataset.class_names, canvas=canvas, thresholds=thresholds_of(task.run))
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int).tolist():
        record = dataset.records[index]
        try:
            image = dataset.read(record)
        except InputError:
            continue  # named when it was tested
        draw(image, predictor.predict(image)).save(folder / f"test_{record.image_id}.png")
    print(f"pictures are in {folder}")


def _same_options(run: dict, file: Path) -> None:
    """Refuse to go on with a run of other options than it was started with."""
    if not file.exists():
        return
    before = OmegaConf.to_container(OmegaConf.load(file))
    free = ("checkpoint", "threads", "pictures", "continue")  # may differ from one start to the next
    changed = [key for key in run.keys() | before.keys() if key not in free and run.get(key) != before.get(key)]
    if changed:
        raise InputError(
            f"{file.parent} holds a run with other options ({', '.join(sorted(changed))}); give its own, or another "
            "output directory"
        )


def _options() -> list[str]:
    """What was asked for on the command line, this job's share of a sweep."""
    return sorted(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def _command() -> str:
    return shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
