"""What earlier versions called things: options that somebody may still type, and what their checkpoints hold."""

from __future__ import annotations

from collections.abc import Sequence

from detector.errors import InputError

FORMAT = 2
"""Of the checkpoints with today's names; those of before do not say theirs."""
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
ELSEWHERE = {
    "lstm_grid": {"decoder.writes": "decoder.boxes_per_cell"},
    "lstm_pointer": {"decoder.candidates": "decoder.candidates"},
}
"""Decoders of which an option of `REMOVED` meant something else, and what it is called there."""
DECODERS = ("lstm", "gru", "mlp", "transformer", "dense", "lstm_attention", *ELSEWHERE)
"""The others are somebody's own, whose options are called what they please."""
PACKAGES = {
    "detector.schedules.": "detector.training.schedules.", "detector.callbacks.": "detector.training.callbacks."
}
MODULES = {
    ".decoder.passes.": ".decoder.stages.", ".decoder.draft.": ".decoder.intermediate.",
    ".reading.": ".region_features.", ".memory.": ".sequence_model.", ".writing.": ".prediction_head.",
    ".liking.": ".pointer.", ".read_norm.": ".input_norm.", ".rezoom.": ".rezoom_features.",
    ".rewriting.": ".rezoom_head.",
}
"""Parts of the names of parameters."""


def refuse_typed(arguments: Sequence[str]) -> None:
    """Raise `InputError` where the command line has an option of an earlier version, with what there is instead."""
    chosen = next((word.partition("=")[2] for word in arguments if word.startswith("decoder=")), "lstm")
    for argument in arguments:
        for decoder in chosen.split(","):
            _refuse(argument.lstrip("+~").partition("=")[0], decoder)


def refuse_composed(config: dict) -> None:
    """The same for the config of a run, to which files of one's own contribute."""
    for key in (*RENAMED, *REMOVED):
        section, name = _section(config, key)
        if name in section:
            _refuse(key, _decoder(config))


def _refuse(key: str, decoder: str) -> None:
    if key.startswith("decoder.") and decoder not in DECODERS:
        return
    new = ELSEWHERE.get(decoder, {}).get(key) or RENAMED.get(key)
    if new and new != key:
        raise InputError(f"{key} is called {new} now")
    if not new and key in REMOVED:
        raise InputError(f"{key} is gone: see results/README.md; commit {LAST_COMMIT} is the last to have it")


def modernise(checkpoint: dict, source: str = "the checkpoint") -> None:
    """Give a checkpoint of an earlier version today's names: its config, and the parameters, averaged and not.

    Raises:
        InputError: see `modernised`.
    """
    if "format" in checkpoint["run"]:
        return
    checkpoint["run"] |= {"config": modernised(checkpoint["run"]["config"], source), "format": FORMAT}
    for key in ("state_dict", "current_model_state"):
        for name in list(checkpoint.get(key, ())):
            new = name
            for old_part, new_part in MODULES.items():
                new = new.replace(old_part, new_part)
            checkpoint[key][new] = checkpoint[key].pop(name)


def modernised(config: dict, source: str) -> dict:
    """The config of an earlier version under today's names.

    Args:
        config: of a run.
        source: what to call it.

    Raises:
        InputError: it has an option that is gone, at a value at which that did something.
    """
    config = _moved(config)
    decoder = _decoder(config)
    renamed = {**RENAMED, **ELSEWHERE.get(decoder, {})}
    for key in {**REMOVED, **renamed}:
        section, name = _section(config, key)
        if name not in section or (key.startswith("decoder.") and decoder not in DECODERS):
            continue
        value = section.pop(name)
        if key in renamed:
            section[renamed[key].rpartition(".")[2]] = value
        elif value != REMOVED[key]:
            raise InputError(
                f"{source} was trained with {key}={value}, which is gone; commit {LAST_COMMIT} is the last to read it"
            )
    return config


def _decoder(config: dict) -> str:
    """What the decoder of a config is called; empty for somebody's own."""
    target = str(config["decoder"].get("_target_"))
    return target.split(".")[-2] if target.startswith("detector.decoders.") else ""


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
