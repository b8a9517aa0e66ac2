"""Ground truth and predictions as a folder that FiftyOne imports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from PIL import Image
from rich.progress import track

from detector.data.annotations import Record
from detector.data.dataset import DetectionDataset
from detector.errors import InputError
from detector.evaluation.coco_map import CocoMAP


def write_fiftyone(folder: Path, *, split: str, dataset: DetectionDataset, metric: CocoMAP) -> int:
    """Write the tested images, their ground truth and what was found in them.

    In FiftyOne: `fiftyone.Dataset.from_dir(dataset_dir=FOLDER, dataset_type=fiftyone.types.FiftyOneDataset)`. Each
    sample is tagged with the split and has `ground_truth` (with `ignored` for what neither trains nor counts and
    `iscrowd`) and `predictions` (with `confidence` and the `step` that predicted it). Images are copied there.

    Args:
        folder: new, or empty.
        split: the name of the split.
        dataset: what was tested.
        metric: with the detections of the test.

    Returns:
        The number of images written; those that do not open are left out.

    Raises:
        InputError: the folder holds something.
    """
    require_empty(folder)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    samples = []
    for record in track(dataset.records, description="FiftyOne folder"):
        if record.image_id in metric.rows:
            try:
                file = _keep(dataset, record, folder / "data")
            except InputError:
                continue  # it was named in the test
            samples.append(_sample(record, f"data/{file}", split, dataset.class_names, metric))
    (folder / "samples.json").write_text(json.dumps({"samples": samples}))
    (folder / "metadata.json").write_text(json.dumps({"media_type": "image", "info": {"classes": dataset.class_names}}))
    return len(samples)


def require_empty(folder: Path) -> None:
    """Raise `InputError` where a folder is not new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder; give fiftyone=FOLDER another name, or empty it")


def _keep(dataset: DetectionDataset, record: Record, folder: Path) -> str:
    """Copy an image, or write one that has no file; its name."""
    if record.path.exists():
        name = f"{record.image_id}{record.path.suffix.lower()}"
        shutil.copyfile(record.path, folder / name)
    else:
        name = f"{record.image_id}.png"
        Image.fromarray(dataset.read(record)).save(folder / name)
    return name


def _sample(record: Record, file: str, split: str, names: list[str], metric: CocoMAP) -> dict:
    found = metric.detections(record.image_id)
    ground_truth = [
        _detection(record, box, names[label], ignored=ignored, iscrowd=crowd)
        for box, label, ignored, crowd in zip(
            record.boxes.tolist(), record.labels.tolist(), record.ignored.tolist(), record.crowd.tolist()
        )
    ]
    predictions = [
        _detection(record, box, names[label], confidence=score, step=step)
        for box, label, score, step in zip(
            found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), found.steps.tolist()
        )
    ]
    height, width = record.size
    return {
        "filepath": file, "tags": [split],
        "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
        "ground_truth": {"_cls": "Detections", "detections": ground_truth},
        "predictions": {"_cls": "Detections", "detections": predictions},
    }


def _detection(record: Record, box: list[float], label: str, **values) -> dict:
    """FiftyOne's boxes are left, top, width, height, as shares of the picture's."""
    height, width = record.size
    x1, y1, x2, y2 = box
    return {
        "_cls": "Detection", "label": label, "tags": [], "attributes": {},
        "bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height], **values,
    }
