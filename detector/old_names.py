"""What earlier versions called things: options that somebody may still type, and what their checkpoints hold."""

from __future__ import annotations

from collections.abc import Sequence

from detector.errors import InputError

FORMAT = 5
"""Of today's checkpoints; those of 4 differ in the intermediate stage of `lstm_pointer`, those of 3 in the size of the
feedback and in the `transformer` too, those of 2 in `REPLACED` and `OF_STAGES`, those of before in names as well and do
not say theirs."""
LAST_COMMIT = "3bca1f7"
"""The last that knows the options of `REMOVED`."""
LAST_WITH_STAGES = "9187b78"
"""The last that knows those of `OF_STAGES` and reads checkpoints of `REPLACED` of format 2."""
LAST_OF_FORMAT_3 = "10be6e3"
"""The last that reads those of format 3."""
LAST_OF_FORMAT_4 = "7bc10e2"
"""The last that reads `lstm_pointer` of format 4."""
RENAMED = {
    "decoder.explore": "decoder.sampling_rate", "decoder.surplus": "decoder.extra_steps",
    "decoder.choice_weight": "decoder.pointer_weight", "loss.set.near_iou": "loss.set.positive_iou",
}
REMOVED = {
    "decoder.coverage": False, "decoder.writes": 1, "decoder.order": "score", "decoder.bidirectional": False,
    "decoder.groups": 1, "decoder.denoising": 0, "decoder.candidates": 1000, "loss.set.monotone_weight": 0.0,
}
"""Options, and the value at which each did nothing."""
PEAKS = ("peak_window", "peak_levels", "off_peak")
OF_STAGES = ("decoder.stages", "decoder.passes", *(f"proposals.{name}" for name in PEAKS))
"""Options of the decoders of `REPLACED`, and of local maxima as their proposals."""
REPLACED = ("lstm", "gru", "mlp", "transformer", "lstm_pointer")
"""Decoders that are others today or take other proposals; no others take any."""
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
    ".reading.": ".region_features.", ".memory.": ".sequence_model.", ".writing.": ".prediction_head.",
    ".liking.": ".pointer.", ".read_norm.": ".input_norm.", ".rezoom.": ".rezoom_features.",
    ".rewriting.": ".rezoom_head.",
}
"""Parts of the names of parameters."""


def refuse_typed(arguments: Sequence[str]) -> None:
    """Raise `InputError` where the command line has an option of an earlier version, with what there is instead."""
    chosen = {"decoder": "lstm", "proposals": "dense_head"}
    chosen |= {group: choice for group, _, choice in (word.partition("=") for word in arguments) if group in chosen}
    for argument in arguments:
        for decoder in chosen["decoder"].split(","):
            _refuse(argument.lstrip("+~").partition("=")[0], decoder, chosen["proposals"] == "dense_head")


def refuse_composed(config: dict) -> None:
    """The same for the config of a run, to which files of one's own contribute."""
    for key in (*RENAMED, *REMOVED, *OF_STAGES):
        section, name = _section(config, key)
        if name in section:
            _refuse(key, _decoder(config), _is_ours(config["proposals"]))


def _refuse(key: str, decoder: str, our_proposals: bool) -> None:
    if key.startswith("decoder.") and decoder not in DECODERS or key.startswith("proposals.") and not our_proposals:
        return
    new = ELSEWHERE.get(decoder, {}).get(key) or RENAMED.get(key)
    if new and new != key:
        raise InputError(f"{key} is called {new} now")
    if not new and key in (*REMOVED, *OF_STAGES):
        last = LAST_COMMIT if key in REMOVED else LAST_WITH_STAGES
        raise InputError(f"{key} is gone: see results/README.md; commit {last} is the last to have it")


def modernise(checkpoint: dict, source: str = "the checkpoint") -> None:
    """Give a checkpoint of an earlier version today's names: its config, and the parameters, averaged and not; and
    today's format, unless its decoder has been replaced (`refuse_replaced`).

    Raises:
        InputError: see `modernised`.
    """
    run = checkpoint["run"]
    if run.get("format") == FORMAT:
        return
    of_before, run["config"] = "format" not in run, modernised(run["config"], source)
    replaced = ("lstm_pointer",) if run.get("format") == 4 else REPLACED
    if _decoder(run["config"]) not in replaced:
        run["format"] = FORMAT
    for key in ("state_dict", "current_model_state") if of_before else ():
        for name in list(checkpoint.get(key, ())):
            new = name
            for old_part, new_part in MODULES.items():
                new = new.replace(old_part, new_part)
            checkpoint[key][new] = checkpoint[key].pop(name)


def refuse_replaced(checkpoint: dict) -> None:
    """Raise `InputError` where the decoder of a checkpoint that `modernise` was given has been replaced since."""
    version = checkpoint["run"].get("format")
    if version != FORMAT:
        last = {4: LAST_OF_FORMAT_4, 3: LAST_OF_FORMAT_3}.get(version, LAST_WITH_STAGES)
        raise InputError(
            f"the checkpoint's decoder, {_decoder(checkpoint['run']['config'])}, is another today; commit {last} is "
            "the last to read it; today's can be trained behind its detector "
            "(initial=CHECKPOINT train_only=decoder)"
        )


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
    proposals = config.get("proposals") or {}
    if _is_ours(proposals) and (gone := proposals.keys() & PEAKS):
        config["proposals"] = {key: value for key, value in proposals.items() if key not in gone}
        if decoder not in REPLACED:  # it takes no proposals, or is somebody's own and takes today's
            config["proposals"]["nms_threshold"] = 0.8
    return config


def _decoder(config: dict) -> str:
    """What the decoder of a config is called; empty for somebody's own."""
    target = str(config["decoder"].get("_target_"))
    return target.split(".")[-2] if target.startswith("detector.decoders.") else ""


def _is_ours(group: dict) -> bool:
    return str(group.get("_target_")).startswith("detector.")


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
