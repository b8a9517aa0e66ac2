"""Pictures in folders, a folder a class."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from detector.classification.data.dataset import ClassificationDataset, Example, part
from detector.classification.data.preprocessing import Preprocessing
from detector.data.dataset import IMAGE_ENDINGS
from detector.errors import InputError

log = logging.getLogger(__name__)
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class ImageFolder(ClassificationDataset):
    """Pictures of files, each class in the folder of its name: `root/CLASS/PICTURE`.

    Where the root holds folders `train`, `val` (or `valid`, `validation`) and `test`, and these the class folders, they
    are the splits, and `splits` has no say. Without a `val` the validation images are the last tenth of a shuffle of
    `train`, as by `{train: [0, 0.9], val: [0.9, 1]}`. Whatever the split, class names and the numbers of the images are
    those of all splits.

    Looked at are files with an ending of `IMAGE_ENDINGS`, in large or small letters, directly in a class folder. What
    is left out is counted and named in the log, but for hidden files and folders (`.…`).

    Args:
        root: the folder.
        splits: where in a shuffle each split begins and ends, see `part`.
        split: which one this is.
        class_names: labels in order; None takes the names of the folders that hold pictures, in natural order (`9`
            before `10`).
        transform, on_bad_sample, seed: see `ClassificationDataset`.

    Raises:
        InputError: the root or the split is missing, there is no picture in a class folder, or a folder is none of the
            given classes.
    """

    def __init__(
        self, *, root: str, splits: dict, split: str, transform: Preprocessing,
        class_names: Sequence[str] | None = None, on_bad_sample: str = "skip", seed: int = 0,
    ):
        base = Path(root)
        if not base.is_dir():
            raise InputError(
                f"no data folder {base}; set data.dataset.root (tools/eval.py: root) to one that holds a folder of "
                "pictures for each class"
            )
        places, left_out = _split_folders(base), dict[str, list[Path]]()
        found = [(place, *pair) for place in places or [base] for pair in _pictures(place, left_out)]
        if places:
            beside = [one for one in _entries(base) if one not in places and (one.is_dir() or _is_picture(one))]
            left_out["folder(s) and picture(s) beside those of the splits"] = beside
        problems = [_line(what, entries, base) for what, entries in left_out.items() if entries]
        if not found:
            raise InputError(
                f"{base} holds no picture in a class folder ({'; '.join(problems) or 'it is empty'}); give pictures "
                f"with one of the endings {' '.join(IMAGE_ENDINGS)} as {base / 'CLASS' / 'PICTURE'}"
            )
        for line in problems:
            log.warning("%s: left out %s", base, line)
        names = sorted({name for _, name, _ in found}, key=_natural) if class_names is None else list(class_names)
        groups: dict[str, list[Example]] = {}
        for number, (place, name, file) in enumerate(found):
            if name not in names:
                raise InputError(
                    f"{file.parent} is none of the classes that data.dataset.class_names gives ({', '.join(names)}); "
                    f"add {name!r} there, or move the folder away"
                )
            example = Example(number, names.index(name), file.relative_to(base).as_posix(), file)
            groups.setdefault(places.get(place, "all"), []).append(example)
        if not places:
            examples = part(groups["all"], splits, split)
        elif split in ("train", "val") and "train" in groups and "val" not in groups:
            examples = part(groups["train"], {"train": [0, 0.9], "val": [0.9, 1]}, split)
        elif split in groups:
            examples = groups[split]
        else:
            raise InputError(f"{base} has no folder {split}, but {', '.join(groups)}; add it, or choose another split")
        counts = Counter(names[example.label] for example in examples)
        log.info("%s (%s): %s", base, split, ", ".join(f"{counts[name]} {name}" for name in names))
        super().__init__(
            class_names=names, records=examples, transform=transform, on_bad_sample=on_bad_sample, seed=seed
        )


def _split_folders(base: Path) -> dict[Path, str]:
    """The splits of those folders that are named like one and hold folders of pictures."""
    found = {
        folder: SPLIT_FOLDERS[folder.name.lower()] for folder in _entries(base)
        if folder.name.lower() in SPLIT_FOLDERS
        and any(_is_picture(file) for inner in _entries(folder) for file in _entries(inner))
    }
    for split, number in Counter(found.values()).items():
        if number > 1:
            twice = " and ".join(folder.name for folder in found if found[folder] == split)
            raise InputError(f"{base} holds both {twice}, which name the same split; merge them")
    return found


def _pictures(place: Path, left_out: dict[str, list[Path]]) -> list[tuple[str, Path]]:
    """The pictures of the class folders with their classes; all else is added to what is left out, by what it is."""

    def leave_out(entry: Path, what: str) -> None:
        known = entry.is_dir() or _is_picture(entry)
        left_out.setdefault(what if known else "file(s) that are no pictures", []).append(entry)

    pictures = []
    for folder in _entries(place):
        if not folder.is_dir():
            leave_out(folder, "picture(s) outside of a class folder")
            continue
        entries = _entries(folder)
        for entry in entries:
            if _is_picture(entry):
                pictures.append((folder.name, entry))
            else:
                leave_out(entry, "folder(s) inside a class folder")
        if not any(map(_is_picture, entries)):
            leave_out(folder, "class folder(s) without a picture")
    return pictures


def _line(what: str, entries: list[Path], base: Path) -> str:
    """How many were left out, the first three by name."""
    more = ", …" if len(entries) > 3 else ""
    return f"{len(entries)} {what}: {', '.join(one.relative_to(base).as_posix() for one in entries[:3])}{more}"


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, in natural order; nothing hidden (`.…`), and nothing where it is a file."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: _natural(one.name))


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_ENDINGS and file.is_file()


def _natural(text: str) -> tuple[list[str | int], str]:
    """A key that sorts numbers by value and letters whatever their case."""
    pieces = re.split(r"(\d+)", text.lower())
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], text
