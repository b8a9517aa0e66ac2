"""Training the decoder alone, behind a detector that stays as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from torch import Tensor

from detector.checkpoint import buildable, read_checkpoint, require_detector
from detector.commands.say_plainly import require_writable
from detector.data.datamodule import DataModule
from detector.data.scene_cache import SceneCache
from detector.errors import InputError
from detector.training.task import Task
from detector.types import Seen

log = logging.getLogger(__name__)
PARTS = ("backbone", "neck", "proposals")
THINNING = "nms_threshold"


def take_over(run: dict) -> None:
    """Give a run that trains the decoder alone the frozen parts and the canvas of its checkpoint, whatever the files of
    `conf/` say. How far boxes are thinned to become proposals is the decoder's concern: that is the run's own.

    Raises:
        InputError: there is no checkpoint, the command line says something else than it, or `train_only` is unknown.
    """
    if run["train_only"] not in (None, "decoder"):
        raise InputError(f"train_only is {run['train_only']!r}; it must be decoder, or null to train everything")
    if not run["train_only"]:
        return
    last = Path(run["output_dir"]) / "checkpoints/last.ckpt"
    file = last if run["continue"] and last.exists() else run["checkpoint"] or run["initial"]
    if not file:
        raise InputError("train_only=decoder trains behind a detector that there is: pass initial=CHECKPOINT")
    checkpoint = read_checkpoint(file)
    require_detector(checkpoint)
    theirs, before = checkpoint["run"]["config"], OmegaConf.create(run)
    run |= buildable(checkpoint, *(part for part in PARTS if run[part] != theirs[part]))
    if THINNING in run["proposals"] and THINNING in before.proposals:
        run["proposals"] = {**run["proposals"], THINNING: before.proposals[THINNING]}
    run["data"] = {**run["data"], "canvas": [int(side) for side in theirs["data"]["canvas"]]}
    after, options = OmegaConf.create(run), HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    typed = {option.lstrip("+~").partition("=")[0] for option in options} - {"data"}
    if against := sorted(key for key in typed if OmegaConf.select(before, key) != OmegaConf.select(after, key)):
        raise InputError(
            f"with train_only=decoder {', '.join(PARTS)} and data.canvas are those of {file}: leave out "
            f"{', '.join(against)}, where that has other values, or train such a detector first"
        )
    log.info("%s and data.canvas are those of %s", ", ".join(PARTS), file)


@contextmanager
def scenes(run: dict, data: DataModule, task: Task, trainer: lightning.Trainer) -> Iterator[None]:
    """While it lasts, what the frozen detector makes of the training images is on disk, and training reads that.

    Raises:
        InputError: there is no room for it, or there are several processes.
    """
    options = run["cache"]
    if options["epochs"] < 1:
        raise InputError(f"cache.epochs is {options['epochs']}; it must be at least 1")
    if trainer.world_size > 1:
        raise InputError(
            f"train_only=decoder trains in one process, and there are {trainer.world_size}: pass trainer.devices=1"
        )
    folder = Path(run["output_dir"]) / "cache"
    if options["folder"]:
        require_writable(Path(options["folder"]), "cache.folder")
        folder = Path(options["folder"]) / _key(run, task, trainer)
    try:
        if not (options["folder"] and SceneCache.complete(folder)):
            shutil.rmtree(folder, ignore_errors=True)  # what a run left that was killed
            _fill(folder, options, data, task, trainer)
        data.scenes = SceneCache(folder)
        yield
    finally:
        data.scenes = None
        if not (options["folder"] and SceneCache.complete(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, options: dict, data: DataModule, task: Task, trainer: lightning.Trainer) -> None:
    """Fill the cache as a step of training would see the images: on its device, in its precision."""
    device = trainer.strategy.root_device
    detector = task.to(device).detector

    @torch.inference_mode()
    def look(images: Tensor) -> Seen:
        with trainer.precision_plugin.forward_context():
            return detector.look(images.to(device))

    SceneCache.fill(
        folder, data.loader(data.training_images(options["seed"])), look, epochs=options["epochs"],
        gigabytes=options["gigabytes"], note=task.note,
    )


def _key(run: dict, task: Task, trainer: lightning.Trainer) -> str:
    """Of all that the outputs of the frozen parts follow from but the code: name of a cache that runs share."""
    data = {key: value for key, value in run["data"].items() if key not in ("batch_size", "num_workers")}
    facts = [
        *(run[part] for part in PARTS), data, run["augmentation"], run["cache"]["seed"], run["cache"]["epochs"],
        str(trainer.precision),
    ]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part in task.detector.frozen:
        for tensor in part.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
