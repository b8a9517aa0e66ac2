"""From a run's config to objects: the one module besides the commands that reads a config."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import hydra
from omegaconf import DictConfig, OmegaConf

from detector.data.datamodule import DataModule
from detector.data.transform import Transform
from detector.errors import InputError
from detector.losses.dense_loss import DenseLoss
from detector.losses.set_loss import SetLoss
from detector.model import Detector
from detector.training.task import Task

instantiate = partial(hydra.utils.instantiate, _convert_="all")  # built objects get plain lists and dicts


def plain(config: DictConfig) -> dict:
    """The config with every reference resolved, as plain containers."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def build_datamodule(config: dict, *, class_names: list[str] | None = None) -> DataModule:
    """The data of a run.

    Args:
        config: a run's plain config.
        class_names: labels in order, where a checkpoint fixes them.
    """
    data, augmentation = config["data"], config["augmentation"]
    canvas = tuple(data["canvas"])
    dataset = dict(data["dataset"])
    named = dataset.pop("class_names", None)
    return DataModule(
        dataset=instantiate({**dataset, "_partial_": True}),
        augment=Transform(
            canvas=canvas, transforms=instantiate(augmentation["transforms"]),
            min_visibility=augmentation["min_visibility"],
        ),
        resize=Transform(canvas=canvas),
        class_names=class_names or named,
        batch_size=data["batch_size"],
        num_workers=data["num_workers"],
        seed=config["seed"],
    )


def build_detector(config: dict, num_classes: int) -> Detector:
    """The network of a run; each part is told by the one before it how wide and how deep its input is."""
    for name in ("hidden_size", "layers", "slots", "stages", "points", "candidates", "boxes_per_cell"):
        if (count := config["decoder"].get(name)) is not None and count < 1:
            raise InputError(f"decoder.{name} is {count}; it must be at least 1")
    backbone = instantiate(config["backbone"])
    neck = instantiate(config["neck"], channels=backbone.channels, strides=backbone.strides)
    shared = {"width": neck.width, "strides": neck.strides, "num_classes": num_classes}
    return Detector(
        backbone, neck, instantiate(config["proposals"], **shared), instantiate(config["decoder"], **shared)
    )


def build_losses(config: dict) -> tuple[SetLoss, DenseLoss]:
    """The losses of a run with their matchers."""
    return (
        instantiate(config["loss"]["set"], matcher=instantiate(config["matcher"])),
        instantiate(config["loss"]["dense"]),
    )


def build_task(config: dict, class_names: list[str]) -> Task:
    """What a run trains."""
    set_loss, dense_loss = build_losses(config)
    return Task(
        build_detector(config, len(class_names)),
        set_loss=set_loss,
        dense_loss=dense_loss,
        optimizer=instantiate(config["optimizer"], _partial_=True),
        schedule=instantiate(config["schedule"], _partial_=True),
        backbone_lr_factor=config["backbone_lr_factor"],
        metric_backend=config["metric_backend"],
        max_detections=config.get("max_detections", 100),
        nms_threshold=config["nms_threshold"],
        seed=config["seed"],
        run={"config": config, "class_names": class_names},
    )


def read_checkpoint(path: str | Path) -> dict:
    """A checkpoint of this project, without running any code it may hold.

    Raises:
        InputError: there is no such file, or it is something else.
    """
    if not Path(path).is_file():
        found = ", ".join(sorted(str(p) for p in Path("outputs").glob("**/best.ckpt"))[-5:]) or "none under outputs/"
        raise InputError(f"no checkpoint {path}; found: {found}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["run"]["config"], checkpoint["run"]["class_names"], checkpoint["state_dict"]
    except Exception as error:
        raise InputError(f"{path} is no checkpoint of tools/train.py ({type(error).__name__}: {error})") from error
    return checkpoint


def decoder_name(config: dict) -> str:
    """What a run's decoder is called: as the file that its class is in."""
    return config["decoder"]["_target_"].split(".")[-2]


def thresholds_of(run: dict) -> list[float]:
    """The scores from which on boxes of each class count as written, as a training run chose them on its validation
    images; 0.5 where it had none or has not come to its end.

    Args:
        run: what a checkpoint keeps of its run.
    """
    return run.get("thresholds") or [0.5] * len(run["class_names"])


def load_task(checkpoint: dict) -> Task:
    """The trained task of a checkpoint, its weights being the averaged ones.

    Raises:
        InputError: the weights do not fit the architecture that the checkpoint names.
    """
    config = OmegaConf.to_container(OmegaConf.create(checkpoint["run"]["config"]))
    config["backbone"] = {**config["backbone"], "weights": None}  # they come from the checkpoint
    task = build_task(config, checkpoint["run"]["class_names"])
    task.run = checkpoint["run"]
    load_weights(task, checkpoint)
    return task.eval()


def load_weights(task: Task, checkpoint: dict) -> None:
    """Give a task the weights of a checkpoint.

    Raises:
        InputError: they do not fit.
    """
    ours, theirs = task.state_dict(), checkpoint["state_dict"]
    wrong = [name for name in ours.keys() | theirs.keys()
             if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape]
    if wrong:
        raise InputError(
            f"the checkpoint does not fit: {len(wrong)} of {len(ours)} tensors differ, {min(wrong)} first; give the "
            "options of the run that made it (classes, backbone, neck, proposals, decoder)"
        )
    task.load_state_dict(theirs)
