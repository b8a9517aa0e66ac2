"""From a run's config to objects: besides the commands, this module and `detector.checkpoint` alone read a config."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import hydra
import torch
from omegaconf import DictConfig, OmegaConf

from detector.data.datamodule import DataModule
from detector.data.dataset import DetectionDataset
from detector.data.transform import Transform
from detector.errors import InputError
from detector.losses.set_loss import SetLoss
from detector.model import Detector
from detector.old_names import FORMAT
from detector.training.task import Task

instantiate = partial(hydra.utils.instantiate, _convert_="all")  # built objects get plain lists and dicts


def plain(config: DictConfig) -> dict:
    """The config with every reference resolved, as plain containers."""
    return cast(dict, OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


def is_classification(config: dict) -> bool:
    """Whether a run's config is of the classification task (`detector.classification.build`): that has a model in place
    of a decoder."""
    return bool(config.get("model"))


def build_datamodule(config: dict, *, class_names: list[str] | None = None) -> DataModule[DetectionDataset]:
    """The data of a run.

    Args:
        config: a run's plain config; with `augmentation` None, training images are not augmented either.
        class_names: labels in order, where a checkpoint fixes them.
    """
    data, augmentation = config["data"], config["augmentation"] or {"transforms": [], "min_visibility": 0.0}
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
    """The network of a run; each part is given by the one before it how wide and how deep its input is."""
    for name in ("hidden_size", "layers", "slots", "points", "candidates", "boxes_per_cell"):
        if (count := config["decoder"].get(name)) is not None and count < 1:
            raise InputError(f"decoder.{name} is {count}; it must be at least 1")
    backbone = instantiate(config["backbone"])
    neck = instantiate(config["neck"], channels=backbone.channels, strides=backbone.strides)
    shared = {"width": neck.width, "strides": neck.strides, "num_classes": num_classes}
    return Detector(
        backbone, neck, instantiate(config["proposals"], **shared), instantiate(config["decoder"], **shared)
    ).to(memory_format=torch.channels_last)


def build_losses(config: dict) -> tuple[SetLoss, Callable]:
    """The losses of a run with their matchers; a proposal head may bring its own (`loss.proposals`)."""
    loss = config["loss"]
    return (
        instantiate(loss["set"], matcher=instantiate(config["matcher"])),
        instantiate(loss.get("proposals") or loss["dense"]),
    )


def build_task(config: dict, class_names: list[str]) -> Task:
    """What a run trains."""
    set_loss, dense_loss = build_losses(config)
    detector = build_detector(config, len(class_names))
    if config["train_only"]:
        detector.freeze()
    return Task(
        detector,
        set_loss=set_loss,
        dense_loss=None if config["train_only"] else dense_loss,
        optimizer=instantiate(config["optimizer"], _partial_=True),
        schedule=instantiate(config["schedule"], _partial_=True),
        backbone_lr_factor=config["backbone_lr_factor"],
        metric_backend=config["metric_backend"],
        max_detections=config.get("max_detections", 100),
        nms_threshold=config["nms_threshold"],
        seed=config["seed"],
        run={"config": config, "class_names": class_names, "format": FORMAT},
    )


def decoder_name(config: dict) -> str:
    """What a run's decoder is called: as the file that its class is in."""
    return config["decoder"]["_target_"].split(".")[-2]
