"""What is read from a checkpoint, which may be somebody else's: whatever is in it, it runs no code but this package's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from detector.build import build_detector
from detector.errors import InputError
from detector.model import Detector
from detector.old_names import modern_name, modernised
from detector.predictor import Predictor
from detector.training.task import Task


def read_checkpoint(path: str | Path) -> dict:
    """A checkpoint of this project, of whatever version, under today's names; no code that it may hold is run.

    What its config names is not looked at here: whoever builds from it takes it from `buildable`.

    Raises:
        InputError: there is no such file, it is something else, or files that training on from it could remove lie anywhere
            but in a folder.
    """
    if not Path(path).is_file():
        found = ", ".join(sorted(str(p) for p in Path("outputs").glob("**/best.ckpt"))[-5:]) or "none under outputs/"
        raise InputError(f"no checkpoint {path}; found: {found}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        run, states = checkpoint["run"], ("state_dict", "current_model_state")  # averaged, and to train on from
        run["class_names"], checkpoint["state_dict"]
        run["config"] = modernised(run["config"], str(path))
        for key in states if states[1] in checkpoint else states[:1]:
            checkpoint[key] = {modern_name(name): value for name, value in checkpoint[key].items()}
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is no checkpoint of tools/train.py ({type(error).__name__}: {error})") from error
    for text in _texts(checkpoint.get("callbacks")):  # Lightning removes what it takes for the checkpoints before
        if "://" in text or "::" in text or ".." in Path(text).parts:
            raise InputError(f"{path} says that checkpoints are at {text}, expected a plain path; do not train on from it")
    return checkpoint


def _texts(node: object) -> Iterator[str]:
    """All strings in nested containers, the keys among them."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list, tuple)):
        for one in [*node, *node.values()] if isinstance(node, dict) else node:
            yield from _texts(one)


def buildable(checkpoint: dict, *groups: str, allow: str | Sequence[str] = ()) -> dict:
    """The groups of a checkpoint's config (`decoder`, `data`, …) from which something is to be built: all that is ever
    built from a checkpoint has come through here.

    Args:
        checkpoint: what `read_checkpoint` returned.
        groups: names of the groups.
        allow: packages beside this one whose classes may be built; the caller's word, never the checkpoint's.

    Raises:
        InputError: they name anything but classes of those packages, or hold what OmegaConf would resolve.
    """
    packages = ("detector", *([allow] if isinstance(allow, str) else allow))
    config = checkpoint["run"]["config"]
    for group in groups:
        _check(config[group], group, packages)
    return {group: config[group] for group in groups}


def _check(node: object, place: str, packages: Sequence[str]) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_" and not _is_class(value, packages):
                raise InputError(
                    f"the checkpoint's {place} names {value!r}, but of what a checkpoint names only classes of "
                    f"{', '.join(packages)} are built; if it is a class of your own, pass allow=[ITS_PACKAGE]"
                )
            _check(value, f"{place}.{key}", packages)
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            _check(value, f"{place}.{number}", packages)
    elif node is not None and not isinstance(node, (str, int, float)) or isinstance(node, str) and "${" in node:
        raise InputError(f"the checkpoint's {place} is {str(node)[:60]!r}, expected a plain value; train its run again")


def _is_class(name: object, packages: Sequence[str]) -> bool:
    """Whether a dotted name is that of a class of these packages, and not of one that they import from elsewhere."""

    def inside(module: str) -> bool:
        return any(f"{module}.".startswith(f"{package}.") for package in packages)

    module, _, last = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    try:
        found = getattr(import_module(module), last) if inside(module) else None
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and inside(found.__module__)


def thresholds_of(run: dict) -> list[float]:
    """The scores from which on boxes of each class count, as a training run chose them on its validation
    images; 0.5 where it had none or has not come to its end.

    Args:
        run: what a checkpoint keeps of its run.
    """
    return run.get("thresholds") or [0.5] * len(run["class_names"])


def load_detector(checkpoint: dict, allow: str | Sequence[str] = ()) -> Detector:
    """The trained network of a checkpoint, its weights being the averaged ones.

    Args:
        checkpoint, allow: as of `buildable`.

    Raises:
        InputError: see `buildable`; or the weights do not fit the architecture that the checkpoint names.
    """
    parts = buildable(checkpoint, "backbone", "neck", "proposals", "decoder", allow=allow)
    parts["backbone"] = {**parts["backbone"], "weights": None}  # they come from the checkpoint
    detector = build_detector(parts, len(checkpoint["run"]["class_names"]))
    load_weights(nn.ModuleDict({"detector": detector}), checkpoint)
    return detector.eval()


def load_task(checkpoint: dict, allow: str | Sequence[str] = ()) -> Task:
    """The trained task of a checkpoint, to be tested; it has no losses and no optimizer. See `load_detector`."""
    config = checkpoint["run"]["config"]
    return Task(
        load_detector(checkpoint, allow), metric_backend=config["metric_backend"],
        max_detections=config.get("max_detections", 100), nms_threshold=config["nms_threshold"], seed=config["seed"],
        run=checkpoint["run"],
    ).eval()


def load(checkpoint: str | Path, device: str = "cpu", allow: str | Sequence[str] = ()) -> Predictor:
    """The detector of a checkpoint that `tools/train.py` wrote, ready to predict.

    Args:
        checkpoint: its path.
        device: where to run, as PyTorch names it.
        allow: packages of your own whose classes the checkpoint may name.

    Raises:
        InputError: there is no such file, it is no checkpoint of this project, or it names other classes.
    """
    content = read_checkpoint(checkpoint)
    run = content["run"]
    return Predictor(
        load_detector(content, allow).to(device), class_names=run["class_names"],
        canvas=tuple(run["config"]["data"]["canvas"]), thresholds=thresholds_of(run),
    )


def load_weights(module: nn.Module, checkpoint: dict) -> None:
    """Give a task, or whatever holds a `detector`, the weights of a checkpoint.

    Raises:
        InputError: they do not fit.
    """
    ours, theirs = module.state_dict(), checkpoint["state_dict"]
    wrong = [name for name in ours.keys() | theirs.keys()
             if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape]
    if wrong:
        raise InputError(
            f"the checkpoint does not fit: {len(wrong)} of {len(ours)} tensors differ, {min(wrong)} first; give the "
            "options of the run that made it (classes, backbone, neck, proposals, decoder)"
        )
    module.load_state_dict(theirs)
