"""COCO's format: one JSON file a split, or one for all."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.data.dataset import DetectionDataset, Record, Report, clean_boxes, fraction, label_of, require_split
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
        class_names: labels in order; None takes the file's categories, by id.
        unknown_classes: `raise` or `skip` an object of another class.
        transform, on_bad_sample, seed: see `DetectionDataset`.
        how_to_get: a sentence for the error where the data is missing.
    """

    def __init__(
        self, *, root: str, splits: dict[str, dict[str, str] | float], split: str, class_names: Sequence[str] | None,
        transform: Transform, annotations: str | None = None, images: str | None = None, unknown_classes: str = "raise",
        on_bad_sample: str = "skip", seed: int = 0, how_to_get: str = "set data.dataset.root",
    ):
        require_split(splits, split)
        wanted = splits[split]
        shared = isinstance(wanted, (int, float))
        file = Path(root) / (annotations if shared else wanted["annotations"])
        folder = Path(root) / (images if shared else wanted["images"])
        for path in (file, folder):
            if not path.exists():
                raise InputError(f"no {path}; {how_to_get}")
        content = _read(file)
        entries = content["images"]
        if shared:
            entries = fraction(entries, splits, split)
        if not entries:
            raise InputError(f"split {split!r} is empty: {file} lists no image for it")

        categories = {category["id"]: category["name"] for category in content["categories"]}
        if class_names is None:
            class_names = [categories[number] for number in sorted(categories)]
        report = Report(f"{file} ({split})")
        objects = defaultdict(list)
        for annotation in content["annotations"]:
            objects[annotation.get("image_id")].append(annotation)
        records = []
        for entry in entries:
            try:
                records.append(
                    _record(entry, objects[entry["id"]], file, folder, categories, list(class_names), unknown_classes,
                            report)
                )
            except KeyError as error:
                message = f"{file}: image {entry.get('id')} or an annotation of it lacks {error}"
                if on_bad_sample == "raise":
                    raise InputError(f"{message}; pass data.dataset.on_bad_sample=skip to go on without it") from error
                report.add(f"{message}; image skipped")
        report.say()
        if not records:
            raise InputError(f"split {split!r} is empty: none of the {len(entries)} images of {file} could be used")
        super().__init__(
            class_names=class_names, records=records, transform=transform, on_bad_sample=on_bad_sample, seed=seed
        )
        numbers = {name: number for number, name in categories.items()}
        unused = max([0, *categories]) + 1
        self.category_ids = [numbers.get(name, unused + i) for i, name in enumerate(self.class_names)]


def _read(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error})") from error
    missing = [key for key in ("images", "annotations", "categories") if key not in content]
    if missing:
        raise InputError(f"{file}: lacks {', '.join(missing)}; a COCO file has images, annotations and categories")
    return content


def _record(
    entry: dict, objects: list[dict], file: Path, folder: Path, categories: dict[int, str], class_names: list[str],
    unknown: str, report: Report,
) -> Record:
    size = (entry["height"], entry["width"])
    boxes, labels, crowd, areas, places = [], [], [], [], []
    for annotation in objects:
        place = f"{file}, annotation {annotation.get('id')}"
        name = categories.get(annotation["category_id"], f"id {annotation['category_id']}")
        label = label_of(name, class_names, place, unknown, report)
        if label is None:
            continue
        x, y, width, height = annotation["bbox"]
        boxes.append([x, y, x + width, y + height])
        labels.append(label)
        crowd.append(bool(annotation.get("iscrowd", 0)))
        areas.append(annotation.get("area", width * height))
        places.append(place)
    pixels, keep = clean_boxes(np.array(boxes, dtype=np.float64).reshape(-1, 4), size, places, report)
    return Record(
        image_id=entry["id"],
        path=folder / entry["file_name"],
        size=size,
        boxes=pixels[keep],
        labels=np.array(labels, dtype=np.int64)[keep],
        ignored=np.array(crowd, dtype=bool)[keep],
        crowd=np.array(crowd, dtype=bool)[keep],
        areas=np.array(areas, dtype=np.float64)[keep],
    )
