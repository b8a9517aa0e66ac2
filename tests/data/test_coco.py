import json
import logging

import pytest
from scenes import write_coco

from detector.data.coco import COCO
from detector.data.transform import Transform
from detector.errors import InputError

RESIZE = Transform(canvas=(64, 48))


def coco(root, **options) -> COCO:
    options = {
        "annotations": "annotations.json", "images": "images", "splits": {"train": 1.0}, "split": "train",
        "class_names": None, **options,
    }
    return COCO(root=str(root), transform=RESIZE, **options)


def change(root, edit):
    file = root / "annotations.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_crowds_are_ignored_and_negatives_kept(tmp_path):
    change(write_coco(tmp_path), lambda content: content["annotations"][0].update(iscrowd=1))
    data = coco(tmp_path)
    assert data.records[0].crowd.tolist() == data.records[0].ignored.tolist() == [True, False]
    assert len(data[(0, 0)].target.labels) == 1
    assert len(data.records[2].boxes) == 0 and len(data[(0, 2)].target.labels) == 0


def test_areas_are_those_of_the_file(tmp_path):
    change(write_coco(tmp_path), lambda content: content["annotations"][0].update(area=7.5))
    assert coco(tmp_path).records[0].areas.tolist() == [7.5, 27.5 * 42.75]


def test_a_subset_of_classes_in_another_order(tmp_path):
    data = coco(write_coco(tmp_path), class_names=["dog", "cat"])
    assert data.category_ids == [17, 3] and data.records[0].labels.tolist() == [1, 0]
    with pytest.raises(InputError, match="class 'cat' is not among"):
        coco(tmp_path, class_names=["dog"])
    assert coco(tmp_path, class_names=["dog"], unknown_classes="skip").records[0].labels.tolist() == [0]


def test_a_missing_field_is_named(tmp_path, caplog):
    change(write_coco(tmp_path), lambda content: content["annotations"][0].pop("bbox"))
    with caplog.at_level(logging.WARNING):
        assert len(coco(tmp_path)) == 3
    assert "annotations.json: image 100 or an annotation of it lacks 'bbox'; image skipped" in caplog.text
    with pytest.raises(InputError, match="on_bad_sample=skip"):
        coco(tmp_path, on_bad_sample="raise")


def test_no_json_and_no_coco(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(InputError, match="annotations.json: not JSON"):
        coco(tmp_path)
    (tmp_path / "annotations.json").write_text('{"images": []}')
    with pytest.raises(InputError, match="lacks annotations, categories"):
        coco(tmp_path)
    with pytest.raises(InputError, match="no .*other.json"):
        coco(tmp_path, annotations="other.json")


def test_no_images(tmp_path):
    change(write_coco(tmp_path), lambda content: content["images"].clear())
    with pytest.raises(InputError, match="split 'train' is empty"):
        coco(tmp_path)


def test_real_coco(shared_data):
    splits = {s: {"annotations": f"annotations/instances_{s}2017.json", "images": f"images/{s}2017"} for s in ("train", "val")}
    train, val = (coco(shared_data / "coco_tiny", splits=splits, split=split) for split in splits)
    assert (len(train), len(val)) == (32, 6) and len(train.class_names) == 80 and train.category_ids[-1] == 90
    assert sum(len(r.boxes) for d in (train, val) for r in d.records) == 424
    assert sum(r.crowd.sum() for d in (train, val) for r in d.records) == 5
