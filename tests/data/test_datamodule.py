"""The splits of a run: one list of classes for all of them."""

import json
import logging

import pytest
from scenes import run_config, write_coco, write_voc

from detector.build import build_datamodule

RARE = {f"{i:02d}": ((40, 40), [("owl" if i == 3 else "cat", 1, 1, 9, 9)]) for i in range(10)}
"""Ten pictures; the only owl is in one of them."""


def splits_of(config: dict) -> tuple[list[str], list[int]]:
    """The class names of a run, and how many images its splits have."""
    data = build_datamodule(config)
    return data.class_names, [len(data.train), len(data.val), len(data.test)]


@pytest.mark.parametrize("rare", [0, 1, 8])  # which are in training, val and test
def test_a_rare_class_may_fall_into_any_split_of_a_voc_folder(tmp_path, caplog, rare):
    scene = {f"{i:02d}": ((40, 40), [("owl" if i == rare else "cat", 1, 1, 9, 9)]) for i in range(10)}
    root = write_voc(tmp_path / "data", scene)
    config = run_config(tmp_path, "data=voc_folder", f"data.dataset.root={root}")
    with caplog.at_level(logging.WARNING):
        assert splits_of(config) == (["cat", "owl"], [8, 1, 1])
    in_training = f"{rare:02d}" in {record.path.stem for record in build_datamodule(config).train.records}
    assert ("no object of owl in the training split" in caplog.text) is not in_training


def test_lists_as_splits(tmp_path, caplog):
    root = write_voc(tmp_path / "data", RARE)
    for name, stems in {"a": ["00", "01"], "b": ["03"], "c": ["02"]}.items():
        (root / f"ImageSets/Main/{name}.txt").write_text("\n".join(stems))
    config = run_config(
        tmp_path, "data=voc_folder", f"data.dataset.root={root}", "data.dataset.splits={train: a, val: [b], test: [c]}"
    )
    with caplog.at_level(logging.WARNING):
        assert splits_of(config) == (["cat", "owl"], [2, 1, 1])
    (message,) = caplog.messages
    assert "no object of owl in the training split" in message and "data.dataset.unknown_classes=skip" in message


def test_a_coco_file_a_split(tmp_path, caplog):
    """The classes are those of all files by their ids there; the numbers of results are those of each file."""
    root = write_coco(tmp_path / "data")
    content = json.loads((root / "annotations.json").read_text())
    content["categories"] = [{"id": 17, "name": "dog"}, {"id": 5, "name": "owl"}, {"id": 3, "name": "cat"}]
    (root / "val.json").write_text(json.dumps(content))
    splits = {name: f"{{annotations: {file}.json, images: images}}"
              for name, file in {"train": "annotations", "val": "val", "test": "val"}.items()}
    config = run_config(
        tmp_path, "data=coco_folder", f"data.dataset.root={root}",
        *(f"data.dataset.splits.{name}={given}" for name, given in splits.items()),
    )
    with caplog.at_level(logging.WARNING):
        assert splits_of(config) == (["cat", "owl", "dog"], [4, 4, 4])
    assert caplog.text.count("no object of owl in the training split") == 1
    data = build_datamodule(config)
    assert data.val.category_ids == [3, 5, 17]
    assert data.train.category_ids == [3, 19, 17]  # 19: a number that its file does not use
    assert data.train.records[1].labels.tolist() == data.val.records[1].labels.tolist() == [2]


def test_objects_that_are_ignored_cannot_be_learnt(tmp_path, caplog):
    root = write_coco(tmp_path / "data")
    content = json.loads((root / "annotations.json").read_text())
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(annotation["category_id"] == 3)
    (root / "annotations.json").write_text(json.dumps(content))
    splits = "data.dataset.splits={train: 1.0, val: 0, test: 0}"
    config = run_config(tmp_path, "data=coco_folder", f"data.dataset.root={root}", splits)
    with caplog.at_level(logging.WARNING):
        assert build_datamodule(config).train.class_names == ["cat", "dog"]
    assert "no object of cat in the training split" in caplog.text


def test_given_names_are_all_there_are(tmp_path):
    root = write_voc(tmp_path / "data", RARE)
    config = run_config(
        tmp_path, "data=voc_folder", f"data.dataset.root={root}", "data.dataset.class_names=[cat,cow]",
        "data.dataset.unknown_classes=skip",
    )
    assert splits_of(config) == (["cat", "cow"], [8, 1, 1])
    assert build_datamodule(config, class_names=["owl"]).test.class_names == ["owl"]
