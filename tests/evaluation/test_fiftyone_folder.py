"""The folder that FiftyOne imports: worked by hand, and imported where FiftyOne is installed."""

import json
from pathlib import Path

import pytest
from PIL import Image
from scenes import data_overrides, run_config, write_image
from test_coco_map import GroundTruth, found, record

from detector.build import build_datamodule
from detector.data.dataset import DetectionDataset
from detector.errors import InputError
from detector.evaluation.coco_map import CocoMAP
from detector.evaluation.fiftyone_folder import write_fiftyone


def written(folder: Path) -> list[dict]:
    """Two images of 400 × 200, the second not tested."""
    records = []
    for number in (7, 8):
        one = record(number, [[40, 20, 200, 120], [0, 0, 10, 10]], [1, 0], ignored=[False, True], size=(200, 400))
        one.path = folder / f"original_{number}.PNG"
        write_image(one.path, (400, 200), number)
        records.append(one)
    dataset = GroundTruth(records)
    metric = CocoMAP(dataset)
    metric.update([7], [found([[100, 50, 300, 150]], [0.25], [0])])
    assert write_fiftyone(folder / "made", split="val", dataset=dataset, metric=metric) == 1
    return json.loads((folder / "made/samples.json").read_text())["samples"]


def test_by_hand(tmp_path):
    (sample,) = written(tmp_path)
    assert sample["filepath"] == "data/7.png" and sample["tags"] == ["val"]
    assert (tmp_path / "made/data/7.png").read_bytes() == (tmp_path / "original_7.PNG").read_bytes()
    first, second = sample["ground_truth"]["detections"]
    assert first["label"] == "dog" and first["bounding_box"] == [0.1, 0.1, 0.4, 0.5] and not first["ignored"]
    assert second["label"] == "cat" and second["ignored"] and not second["iscrowd"]
    (one,) = sample["predictions"]["detections"]
    assert one["bounding_box"] == [0.25, 0.25, 0.5, 0.5] and one["confidence"] == 0.25 and one["step"] == 0
    info = json.loads((tmp_path / "made/metadata.json").read_text())
    assert "version" not in info and info["info"] == {"classes": ["cat", "dog"]}  # a version would mean another layout


def test_pictures_without_a_file_are_written(tmp_path):
    config = run_config(tmp_path, "data=shapes", *data_overrides("shapes", tmp_path))
    dataset: DetectionDataset = build_datamodule(config).test
    metric = CocoMAP(dataset)
    metric.update([0], [found([], [], [])])
    assert write_fiftyone(tmp_path / "made", split="test", dataset=dataset, metric=metric) == 1
    with Image.open(tmp_path / "made/data/0.png") as picture:
        assert picture.size == tuple(config["data"]["dataset"]["size"])


def test_a_folder_that_holds_something_is_refused(tmp_path):
    written(tmp_path)
    with pytest.raises(InputError, match="made exists and is not an empty folder"):
        write_fiftyone(tmp_path / "made", split="val", dataset=GroundTruth([]), metric=CocoMAP(GroundTruth([])))


@pytest.mark.filterwarnings("ignore")
def test_fiftyone_reads_it(tmp_path):
    """By its own importer, which needs no database."""
    importers = pytest.importorskip("fiftyone.utils.data", reason="FiftyOne is not installed")
    written(tmp_path)
    importer = importers.FiftyOneDatasetImporter(dataset_dir=str(tmp_path / "made"))
    assert importer._is_legacy_format_data()  # then it takes the following one
    with importers.LegacyFiftyOneDatasetImporter(dataset_dir=str(tmp_path / "made")) as samples:
        (sample,) = samples
        assert sample.tags == ["val"] and samples.get_dataset_info() == {"classes": ["cat", "dog"]}
    assert [one.label for one in sample.ground_truth.detections] == ["dog", "cat"]
    (one,) = sample.predictions.detections
    assert one.confidence == 0.25 and one.bounding_box == [0.25, 0.25, 0.5, 0.5] and one["step"] == 0
