"""What is read from a classifier's checkpoint: see `detector.checkpoint`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from detector.build import is_classification
from detector.checkpoint import buildable, require_fit
from detector.classification.build import build_classifier, build_preprocessing
from detector.classification.classifier import Classifier
from detector.classification.data.colour_space import ColourSpace
from detector.classification.namer import Namer
from detector.classification.task import ClassificationTask
from detector.errors import InputError


def require_classifier(checkpoint: dict) -> None:
    """Raise `InputError` where a checkpoint is of the other task."""
    if not is_classification(checkpoint["run"]["config"]):
        raise InputError("the checkpoint is of a detector, where a classifier is due; give one of a classification run")


def load_weights(module: nn.Module, checkpoint: dict) -> None:
    """Give a task, or whatever holds a `classifier`, the weights of a checkpoint.

    Raises:
        InputError: it is of a detector, or they do not fit.
    """
    require_classifier(checkpoint)
    require_fit(module.state_dict(), checkpoint["state_dict"], "classes, canvas, preprocessing, reads, model")
    module.load_state_dict(checkpoint["state_dict"])


def load_classifier(checkpoint: dict, allow: Sequence[str] = ()) -> Classifier:
    """The trained network of a checkpoint, its weights being the averaged ones; arguments and errors as of `buildable`.

    Raises:
        InputError: the weights do not fit the architecture that the checkpoint names.
    """
    require_classifier(checkpoint)
    parts = {**buildable(checkpoint, "reads", "model", allow=allow), **_images(checkpoint, allow)}
    if "backbone" in parts["reads"]:  # its weights come from the checkpoint
        parts["reads"] = {**parts["reads"], "backbone": {**parts["reads"]["backbone"], "weights": None}}
    classifier = build_classifier(parts, len(checkpoint["run"]["class_names"]))
    load_weights(nn.ModuleDict({"classifier": classifier}), checkpoint)
    return classifier.eval()


def load_task(checkpoint: dict, allow: Sequence[str] = ()) -> ClassificationTask:
    """The trained task of a checkpoint, to be tested; it has no loss and no optimizer. See `load_classifier`."""
    run = checkpoint["run"]
    return ClassificationTask(load_classifier(checkpoint, allow), seed=run["config"]["seed"], run=run).eval()


def load_namer(checkpoint: dict, device: str = "cpu", allow: Sequence[str] = ()) -> Namer:
    """The classifier of a checkpoint, ready to predict. See `load_classifier`."""
    return Namer(
        load_classifier(checkpoint, allow).to(device), class_names=checkpoint["run"]["class_names"],
        preprocessing=build_preprocessing(_images(checkpoint, allow), []),
    )


def buildable_preprocessing(checkpoint: dict, allow: Sequence[str] = ()) -> dict:
    """How a checkpoint's images are prepared: see `buildable`; by classes of albumentations."""
    return buildable(checkpoint, "preprocessing", allow=allow, within=("albumentations", ColourSpace.__module__))


def _images(checkpoint: dict, allow: Sequence[str]) -> dict:
    return {**buildable(checkpoint, "data", allow=allow), **buildable_preprocessing(checkpoint, allow)}
