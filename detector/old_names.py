"""What earlier versions called things: options that somebody may still type, and what their checkpoints hold."""

from __future__ import annotations

from collections.abc import Sequence

from detector.errors import InputError

LAST_COMMIT = "3bca1f7"
"""The last that knows the options of `REMOVED`."""
RENAMED = {
    "decoder.passes": "decoder.stages", "decoder.explore": "decoder.sampling_rate",
    "decoder.surplus": "decoder.extra_steps", "decoder.choice_weight": "decoder.pointer_weight",
    "loss.set.near_iou": "loss.set.positive_iou",
}
REMOVED = {
    "decoder.coverage": False, "decoder.writes": 1, "decoder.order": "score", "decoder.bidirectional": False,
    "decoder.groups": 1, "decoder.denoising": 0, "decoder.candidates": 1000, "loss.set.monotone_weight": 0.0,
}
"""Options, and the value at which each did nothing."""
GRID = "detector.decoders.lstm_grid.LSTMGrid"
POINTER = "detector.decoders.lstm_pointer.LSTMPointer"
KEPT = {GRID: {"decoder.writes": "decoder.boxes_per_cell"}, POINTER: {"decoder.candidates": "decoder.candidates"}}
"""Decoders of which an option of `REMOVED` meant something else, and what it is called there."""
PACKAGES = {f"detector.{name}.": f"detector.training.{name}." for name in ("schedules", "callbacks")}
MODULES = {
    ".decoder.passes.": ".decoder.stages.", ".decoder.draft.": ".decoder.intermediate.", ".liking.": ".pointer.",
    ".memory.": ".sequence_model.", ".writing.": ".prediction_head.", ".reading.": ".region_features.",
    ".read_norm.": ".input_norm.", ".rezoom.": ".rezoom_features.", ".rewriting.": ".rezoom_head.",
}
"""Parts of the names of parameters."""


def refuse_old_options(arguments: Sequence[str]) -> None:
    """Raise `InputError` where the command line has an option of an earlier version, with what there is instead."""
    for argument in arguments:
        key = argument.lstrip("+~").partition("=")[0]
        if key in RENAMED:
            raise InputError(f"{key} is called {RENAMED[key]} now")
        if key == "decoder.writes":
            raise InputError(
                "decoder.writes is called decoder.boxes_per_cell now, and only lstm_grid has it; commit "
                f"{LAST_COMMIT} is the last in which the other decoders did"
            )
        if key in REMOVED and key != "decoder.candidates":
            raise InputError(
                f"{key} is gone: it gained nothing (results/README.md); commit {LAST_COMMIT} is the last that has it"
            )


def modernised(config: dict, source: str) -> dict:
    """The config of a checkpoint under today's names.

    Args:
        config: of any version.
        source: what to call the checkpoint.

    Raises:
        InputError: it has an option that is gone, at a value at which that did something.
    """
    config = _moved(config)
    kept = KEPT.get(config["decoder"]["_target_"], {})
    for key, inert in REMOVED.items():
        section, name = _section(config, key)
        if name not in section or kept.get(key) == key:
            continue
        value = section.pop(name)
        if key in kept:
            section[kept[key].rpartition(".")[2]] = value
        elif value != inert:
            raise InputError(
                f"{source} was trained with {key}={value}, which is gone; commit {LAST_COMMIT} is the last to read it"
            )
    for key, new in RENAMED.items():
        section, name = _section(config, key)
        if name in section:
            section[new.rpartition(".")[2]] = section.pop(name)
    return config


def rename_parameters(checkpoint: dict) -> None:
    """Give the parameters in a checkpoint of any version today's names: averaged ones, and those to train on from."""
    for key in ("state_dict", "current_model_state"):
        for name in list(checkpoint.get(key, ())):
            new = name
            for old_part, new_part in MODULES.items():
                new = new.replace(old_part, new_part)
            checkpoint[key][new] = checkpoint[key].pop(name)


def _moved(value):
    """A copy in which every `_target_` is where its class is now."""
    if isinstance(value, dict):
        return {key: _moved(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_moved(one) for one in value]
    for old, new in PACKAGES.items():
        if isinstance(value, str) and value.startswith(old):
            return new + value.removeprefix(old)
    return value


def _section(config: dict, key: str) -> tuple[dict, str]:
    """The part of a config that an option is in, and its name there."""
    *path, name = key.split(".")
    for step in path:
        config = config.get(step) or {}
    return config, name
