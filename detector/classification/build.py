"""From a run's config to the objects of the classification task."""

from __future__ import annotations

import numpy as np
import torch

from detector.build import instantiate
from detector.classification.classifier import Classifier
from detector.classification.data.preprocessing import Preprocessing
from detector.classification.reads.cnn_rows import CNNRows
from detector.classification.task import ClassificationTask
from detector.data.datamodule import DataModule
from detector.data.image_dataset import ImageDataset, Unreadable
from detector.errors import InputError

FORMAT = 1
"""Of its checkpoints."""
MEASURED = 256
"""Training images."""


def build_datamodule(config: dict, *, class_names: list[str] | None = None) -> DataModule:
    """The data of a run.

    Args:
        config: a run's plain config; with `augmentation` None, training images are not augmented.
        class_names: labels in order, where a checkpoint fixes them.
    """
    data, augmentation = config["data"], config["augmentation"] or {"transforms": []}
    dataset = dict(data["dataset"])
    named = dataset.pop("class_names", None)
    return DataModule(
        dataset=instantiate({**dataset, "_partial_": True}),
        augment=build_preprocessing(config, augmentation["transforms"]),
        resize=build_preprocessing(config, []),
        class_names=class_names or (named and [str(name) for name in named]),  # which may look like numbers
        batch_size=data["batch_size"],
        num_workers=data["num_workers"],
        seed=config["seed"],
    )


def build_preprocessing(config: dict, augmentation: list[dict]) -> Preprocessing:
    """What images go through before the network sees them."""
    return Preprocessing(
        canvas=tuple(config["data"]["canvas"]), transforms=instantiate(config["preprocessing"]["transforms"]),
        augmentation=instantiate(augmentation),
    )


def build_classifier(config: dict, num_classes: int) -> Classifier:
    """The network of a run; what names is given by what reads how long and wide its sequences are."""
    for name in ("hidden_size", "layers"):
        if config["model"].get(name, 1) < 1:
            raise InputError(f"model.{name} is {config['model'][name]}; it must be at least 1")
    if not 0 <= (dropout := config["model"].get("dropout", 0)) < 1:
        raise InputError(f"model.dropout is {dropout}; it must be from 0 to below 1")
    preprocessing = build_preprocessing(config, [])
    reads = instantiate(config["reads"], canvas=preprocessing.canvas, channels=preprocessing.channels)
    shared = {"features": reads.features, "steps": reads.steps, "num_classes": num_classes}
    by_itself = isinstance(reads, CNNRows)  # a CNN has numbers of its own for that
    standardised = config["preprocessing"].get("standardise", False) and not by_itself
    return Classifier(reads, instantiate(config["model"], **shared), standardised=standardised)


def measure(classifier: Classifier, train: ImageDataset) -> None:
    """Give a classifier that standardises its images mean and deviation of some training images, evenly chosen."""
    if classifier.standardised:
        chosen = np.linspace(0, len(train) - 1, min(MEASURED, len(train))).round().astype(int).tolist()
        samples = [train[(0, index)] for index in chosen]
        images = [sample.image for sample in samples if not isinstance(sample, Unreadable)]
        if images:
            classifier.measure(torch.stack(images))


def build_task(config: dict, class_names: list[str]) -> ClassificationTask:
    """What a run trains."""
    if "_target_" not in config["loss"]:
        raise InputError("loss is one of detection; give loss=classification/cross_entropy, or another of that folder")
    return ClassificationTask(
        build_classifier(config, len(class_names)),
        loss=instantiate(config["loss"]),
        optimizer=instantiate(config["optimizer"], _partial_=True),
        schedule=instantiate(config["schedule"], _partial_=True),
        backbone_lr_factor=config["backbone_lr_factor"],
        seed=config["seed"],
        run={"config": config, "class_names": class_names, "format": FORMAT},
    )


def model_name(config: dict) -> str:
    """What a run's model is called: as the file that its class is in."""
    return config["model"]["_target_"].split(".")[-2]
