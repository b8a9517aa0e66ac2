"""What is read from a checkpoint, which may be anybody's: whatever is in it, no code is run but this package's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from detector.build import build_detector, is_classification
from detector.errors import InputError
from detector.model import Detector
from detector.old_names import modernise, refuse_replaced
from detector.predictor import Predictor
from detector.training.task import Task

if TYPE_CHECKING:
    from detector.classification.namer import Namer


def read_checkpoint(path: str | Path) -> dict:
    """A checkpoint of this project, of whatever version, under today's names; no code that it may hold is run. To build
    from its config use `buildable`.

    Raises:
        InputError: there is no such file, it is something else, or training on from it could remove files elsewhere.
    """
    if not Path(path).is_file():
        found = ", ".join(sorted(str(p) for p in Path("outputs").glob("**/best.ckpt"))[-5:]) or "none under outputs/"
        raise InputError(f"no checkpoint {path}; found: {found}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["run"]["class_names"], checkpoint["state_dict"]
        if not is_classification(checkpoint["run"]["config"]):
            modernise(checkpoint, str(path))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is no checkpoint of tools/train.py ({type(error).__name__}: {error})") from error
    # Lightning removes the checkpoints that these name when it trains on, and is misled by what is searched for here
    if re.search(r"://|::|[/\\'\"]\.\.[/\\'\"]", repr(checkpoint.get("callbacks"))):
        raise InputError(f"{path} names files elsewhere, which training on from it would remove; take another one")
    return checkpoint


def require_detector(checkpoint: dict) -> None:
    """Raise `InputError` where a checkpoint is of the other task."""
    if is_classification(checkpoint["run"]["config"]):
        raise InputError("the checkpoint is of a classifier, where a detector is due; give one of a detection run")


def buildable(
    checkpoint: dict, *groups: str, allow: Sequence[str] = (), within: Sequence[str] = ("detector",)
) -> dict:
    """Groups of a checkpoint's config (`decoder`, `data`, …): what is built from a checkpoint has come through here.

    Args:
        checkpoint: what `read_checkpoint` returned.
        groups: their names.
        allow: packages whose classes may be built beside these, as the caller says, never the checkpoint.
        within: packages or modules whose classes may be built.

    Raises:
        InputError: they name anything but classes of those packages, or hold anything but plain values; or the decoder
            is one of an earlier version.
    """
    if "decoder" in groups:
        require_detector(checkpoint)
        refuse_replaced(checkpoint)
    packages = (*within, *([allow] if isinstance(allow, str) else allow))
    found = {group: checkpoint["run"]["config"][group] for group in groups}
    for group in groups:
        _check(found[group], group, packages)
    return found


def _check(node: object, place: str, packages: Sequence[str]) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_" and not _is_class(str(value), packages):
                raise InputError(
                    f"the checkpoint's {place} names {value!r}, but of what a checkpoint names only classes of "
                    f"{', '.join(packages)} are built; if it is a class of your own, pass allow=[ITS_PACKAGE]"
                )
            _check(value, f"{place}.{key}", packages)
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            _check(value, f"{place}.{number}", packages)
    elif not isinstance(node, (str, int, float, type(None))) or "${" in str(node):  # which OmegaConf would resolve
        raise InputError(f"the checkpoint's {place} is {str(node)[:60]!r}, expected a plain value; train its run again")


def _is_class(name: str, packages: Sequence[str]) -> bool:
    """Whether it is the dotted name of a class of these packages, and not of one that they import from elsewhere."""
    within = tuple(f"{package}." for package in packages)
    module, _, last = name.rpartition(".")
    try:
        found = getattr(import_module(module), last) if f"{module}.".startswith(within) else None
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and f"{found.__module__}.".startswith(within)


def thresholds_of(run: dict) -> list[float]:
    """The scores from which on boxes of each class count, as a training run chose them on its validation
    images; 0.5 where it had none or has not come to its end.

    Args:
        run: what a checkpoint keeps of its run.
    """
    return run.get("thresholds") or [0.5] * len(run["class_names"])


def load_detector(checkpoint: dict, allow: Sequence[str] = ()) -> Detector:
    """The trained network of a checkpoint, its weights being the averaged ones; arguments and errors as of `buildable`.

    Raises:
        InputError: the weights do not fit the architecture that the checkpoint names.
    """
    parts = buildable(checkpoint, "backbone", "neck", "proposals", "decoder", allow=allow)
    parts["backbone"] = {**parts["backbone"], "weights": None}  # they come from the checkpoint
    detector = build_detector(parts, len(checkpoint["run"]["class_names"]))
    load_weights(nn.ModuleDict({"detector": detector}), checkpoint)
    return detector.eval()


def load_task(checkpoint: dict, allow: Sequence[str] = ()) -> Task:
    """The trained task of a checkpoint, to be tested; it has no losses and no optimizer. See `load_detector`."""
    config = checkpoint["run"]["config"]
    return Task(
        load_detector(checkpoint, allow), metric_backend=config["metric_backend"],
        max_detections=config.get("max_detections", 100), nms_threshold=config["nms_threshold"], seed=config["seed"],
        run=checkpoint["run"],
    ).eval()


def load(checkpoint: str | Path, device: str = "cpu", allow: Sequence[str] = ()) -> Predictor | Namer:
    """The detector or classifier of a checkpoint that `tools/train.py` wrote, ready to predict.

    Args:
        checkpoint: its path.
        device: where to run, as PyTorch names it.
        allow: see `buildable`.

    Returns:
        A `Predictor`; of the classification task, a `Namer`.

    Raises:
        InputError: there is no such file, it is no checkpoint of this project, or it names other classes.
    """
    content = read_checkpoint(checkpoint)
    run = content["run"]
    if is_classification(run["config"]):
        from detector.classification.checkpoint import load_namer  # which builds on this module

        return load_namer(content, device, allow)
    return Predictor(
        load_detector(content, allow).to(device), class_names=run["class_names"],
        canvas=tuple(run["config"]["data"]["canvas"]), thresholds=thresholds_of(run),
    )


def load_weights(module: nn.Module, checkpoint: dict) -> None:
    """Give a task, or whatever holds a `detector`, the weights of a checkpoint.

    Raises:
        InputError: they do not fit, or are those of a decoder of an earlier version.
    """
    require_detector(checkpoint)
    refuse_replaced(checkpoint)
    require_fit(module.state_dict(), checkpoint["state_dict"], "classes, backbone, neck, proposals, decoder")
    module.load_state_dict(checkpoint["state_dict"])


def start_from(task: Task, checkpoint: dict, *, new_decoder: bool) -> bool:
    """Give a task the weights that another run came to, those of the decoder where it is of the same class and every
    tensor fits.

    Args:
        task: of a new run.
        checkpoint: of the other.
        new_decoder: whether the decoder is to keep its own whatever fits.

    Returns:
        Whether the decoder got weights.

    Raises:
        InputError: the classes differ, or a tensor of backbone, neck or proposals.
    """
    require_detector(checkpoint)
    names, others = task.run["class_names"], checkpoint["run"]["class_names"]
    if names != others:
        raise InputError(
            f"the checkpoint's classes are {', '.join(others)}, those of the data {', '.join(names)}; give data of the "
            "same, or their names in that order as data.dataset.class_names"
        )
    ours, theirs = task.state_dict(), checkpoint["state_dict"]
    mine, rest = (
        {name: tensor for name, tensor in state.items() if not name.startswith("detector.decoder.")}
        for state in (ours, theirs)
    )
    require_fit(mine, rest, "backbone, neck, proposals")
    kind, other = (run["config"]["decoder"]["_target_"] for run in (task.run, checkpoint["run"]))
    taken = not new_decoder and kind == other and not _differing(ours, theirs)
    task.load_state_dict(theirs if taken else rest, strict=taken)
    return taken


def require_fit(ours: dict[str, Tensor], theirs: dict[str, Tensor], groups: str) -> None:
    """Raise `InputError` where two states differ in names or shapes; `groups` are the options that may be why."""
    if wrong := _differing(ours, theirs):
        raise InputError(
            f"the checkpoint does not fit: {len(wrong)} of {len(ours)} tensors differ, {min(wrong)} first; give the "
            f"options of the run that made it ({groups})"
        )


def _differing(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """The names that one of two states lacks, and those of tensors of different shapes."""
    return [name for name in ours.keys() | theirs.keys()
            if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape]
