"""COCO's format: one JSON file a split, or one for all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from detector.data.annotations import Record, Report, fraction, label_of, make_record, require_split
from detector.data.dataset import DetectionDataset
from detector.data.transform import Transform
from detector.errors import InputError


class COCO(DetectionDataset):
    """Images with COCO annotations.

    `iscrowd` regions neither train nor count, and take up any number of detections when scored; images without objects
    are kept; category ids may have gaps.

    Args:
        root: the paths below are relative to it.
        splits: of each split `{annotations: FILE, images: FOLDER}`, or for every split a fraction of the images in
            `annotations`.
        split: which one this is.
        annotations, images: the JSON file and image folder where splits are fractions.
        class_names: labels in order; None takes the categories of all splits' files, by id.
        unknown_classes: `raise` or `skip` an object of another class.
        transform, on_bad_sample, seed: see `DetectionDataset`.
        how_to_get: a sentence for the error where the data is missing.
    """

    def __init__(
        self, *, root: str, splits: dict, split: str, class_names: Sequence[str] | None,
        transform: Transform, annotations: str | None = None, images: str | None = None, unknown_classes: str = "raise",
        on_bad_sample: str = "skip", seed: int = 0, how_to_get: str = "set data.dataset.root (tools/eval.py: root)",
    ):
        require_split(splits, split)
        shared = {"annotations": annotations, "images": images}
        file, folder = _place(Path(root), split, splits[split], shared, how_to_get)
        pictures, annotated, categories = _read(file)
        if class_names is None:
            files = {_place(Path(root), name, wanted, shared, how_to_get)[0] for name, wanted in splits.items()}
            named = {pair for one in files for pair in (categories if one == file else _read(one)[2]).items()}
            class_names = list(dict.fromkeys(name for _, name in sorted(named)))
        report = Report(f"{file} ({split})", on_bad_sample)
        known, lost = dict[object, tuple[dict, list[dict]]](), list[dict]()
        for entry in pictures:
            number = entry.get("id")
            if not _numbers(number) or number in known:
                report.skip(f"{file}: image {entry.get('file_name')} has the id {number!r}, not a number of its own")
            else:
                known[number] = entry, []
        for annotation in annotated:
            number = annotation.get("image_id")
            (known[number][1] if _numbers(number) and number in known else lost).append(annotation)
        if lost:
            report.add(f"{file}: {len(lost)} annotation(s) of images that it does not list, annotation "
                       f"{lost[0].get('id')} of image {lost[0].get('image_id')} first; skipped")
        entries = list(known.values())
        if isinstance(splits[split], (int, float)):
            entries = fraction(entries, splits, split)
        records = []
        for entry, objects in entries:
            try:
                records.append(
                    _record(entry, objects, file, folder, categories, list(class_names), unknown_classes, report)
                )
            except KeyError as error:
                report.skip(error.args[0])
        report.say()
        if not records:
            raise InputError(f"split {split!r} is empty: {file} lists no image for it that could be used")
        super().__init__(
            class_names=class_names, records=records, transform=transform, on_bad_sample=on_bad_sample, seed=seed
        )
        numbers = {name: number for number, name in categories.items()}
        unused = max([0, *categories]) + 1
        self.category_ids = [numbers.get(name, unused + i) for i, name in enumerate(self.class_names)]


def _place(root: Path, split: str, wanted: object, shared: dict, how_to_get: str) -> tuple[Path, Path]:
    """The JSON file and the image folder of a split."""
    given = shared if isinstance(wanted, (int, float)) else wanted
    if not (isinstance(given, dict) and all(isinstance(given.get(key), str) for key in shared)):
        raise InputError(f"split {split!r} is {wanted!r}; give {{annotations: FILE, images: FOLDER}}, or a fraction "
                         "and these two as data.dataset.annotations and data.dataset.images")
    paths = root / given["annotations"], root / given["images"]
    for path in paths:
        if not path.exists():
            raise InputError(f"no {path}; {how_to_get}")
    return paths


def _read(file: Path) -> tuple[list[dict], list[dict], dict]:
    """Images, annotations, and the categories' names by id."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not JSON ({error})") from error
    keys = ("images", "annotations", "categories")
    lists: list = [content.get(key) if isinstance(content, dict) else None for key in keys]
    missing = [key for key, rows in zip(keys, lists)
               if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows))]
    if missing:
        raise InputError(f"{file}: lacks {', '.join(missing)}; a COCO file has images, annotations and categories, "
                         "each a list of {…}")
    for category in lists[2]:
        if not (_numbers(category.get("id")) and isinstance(category.get("name"), str)):
            raise InputError(f"{file}: category {category} needs a number as id and a text as name")
    return lists[0], lists[1], {category["id"]: category["name"] for category in lists[2]}


def _numbers(*values: object) -> bool:
    """Whether all are numbers."""
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _record(
    entry: dict, annotations: list[dict], file: Path, folder: Path, categories: dict, class_names: list[str],
    unknown: str, report: Report,
) -> Record:
    facts: list = [entry.get(key) for key in ("file_name", "width", "height")]
    name, width, height = facts
    if not (isinstance(name, str) and _numbers(width, height)):
        raise KeyError(f"{file}, image {entry['id']}: file_name, width, height are {name!r}, {width!r}, {height!r}; "
                       "expected a text and two numbers")
    size, objects = (round(height), round(width)), []
    for annotation in annotations:
        place = f"{file}, annotation {annotation.get('id')}"
        number, box, area = (annotation.get(key) for key in ("category_id", "bbox", "area"))
        if not _numbers(number):
            raise KeyError(f"{place}: category_id is {number!r}, expected a number")
        label = label_of(categories.get(number, f"id {number}"), class_names, place, unknown, report)
        if label is None:
            continue
        if not (isinstance(box, list) and len(box) == 4 and _numbers(*box)):
            raise KeyError(f"{place}: bbox is {box!r}, expected [x, y, width, height]")
        x, y, width, height = box
        crowd = bool(annotation.get("iscrowd", 0))
        objects.append((
            [x, y, x + width, y + height], label, crowd, crowd, area if _numbers(area) else width * height, place
        ))
    return make_record(entry["id"], folder / name, size, objects, report)
