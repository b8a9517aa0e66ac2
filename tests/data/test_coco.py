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


@pytest.mark.parametrize("key, edit, expected", [
    ("annotations", {"bbox": ...}, "annotations.json, annotation 1: bbox is None, expected [x, y, width, height]"),
    ("annotations", {"bbox": None}, "annotation 1: bbox is None"),
    ("annotations", {"bbox": []}, "annotation 1: bbox is [], expected"),
    ("annotations", {"bbox": [1, 2, 3]}, "annotation 1: bbox is [1, 2, 3]"),
    ("annotations", {"bbox": ["1", "2", "3", "4"]}, "annotation 1: bbox is ['1', '2', '3', '4']"),
    ("annotations", {"bbox": [float("nan"), 2, 3, 4]}, "annotation 1: bbox is [nan, 2, 3, 4]"),
    ("annotations", {"category_id": ...}, "annotations.json, annotation 1: category_id is None, expected a number"),
    ("annotations", {"category_id": [3]}, "annotation 1: category_id is [3]"),
    ("images", {"width": None}, "annotations.json, image 100: file_name, width, height are 'a.png', None, 60"),
    ("images", {"height": "60"}, "image 100: file_name, width, height are 'a.png', 80, '60'; expected a text and two"),
    ("images", {"file_name": ...}, "image 100: file_name, width, height are None, 80, 60"),
    ("images", {"id": ...}, "annotations.json: image a.png has the id None, not a number of its own"),
    ("images", {"id": "x"}, "image a.png has the id 'x', not"),
    ("images", {"id": 101}, "image b.png has the id 101, not a number of its own"),
])
def test_what_is_malformed_is_named_and_its_image_skipped_or_refused(tmp_path, caplog, key, edit, expected):
    def malform(content):
        content[key][0].update(edit)
        content[key][0] = {name: value for name, value in content[key][0].items() if value is not ...}

    change(write_coco(tmp_path), malform)
    with caplog.at_level(logging.WARNING):
        assert len(coco(tmp_path)) == 3
    assert expected in caplog.text and "image skipped" in caplog.text
    with pytest.raises(InputError, match="on_bad_sample=skip"):
        coco(tmp_path, on_bad_sample="raise")


@pytest.mark.parametrize("area", [None, "large", float("nan")])
def test_an_area_that_is_none_is_the_box_s(tmp_path, area):
    write_coco(tmp_path)
    change(tmp_path, lambda content: content["annotations"][0].update(area=area))
    assert coco(tmp_path).records[0].areas.tolist() == [30 * 25, 27.5 * 42.75]


def test_an_object_of_a_class_that_is_skipped_needs_no_box(tmp_path):
    change(write_coco(tmp_path), lambda content: content["annotations"][0].update(bbox=[]))
    assert coco(tmp_path, class_names=["dog"], unknown_classes="skip").records[0].labels.tolist() == [0]


def test_annotations_of_images_that_are_not_there_are_counted(tmp_path, caplog):
    write_coco(tmp_path)
    lost = {0: 999, 2: None}
    change(tmp_path, lambda content: [content["annotations"][i].update(image_id=image) for i, image in lost.items()])
    with caplog.at_level(logging.WARNING):
        data = coco(tmp_path, on_bad_sample="raise")
    assert len(data) == 4 and [len(record.boxes) for record in data.records] == [1, 0, 0, 3]
    assert "json: 2 annotation(s) of images that it does not list, annotation 1 of image 999 first" in caplog.text
    caplog.clear()
    for split in ("train", "val"):  # of an image in another split is something else
        coco(tmp_path, splits={"train": 0.5, "val": 0.5}, split=split)
    assert len(caplog.messages) == 2 and all("2 annotation(s) of images" in message for message in caplog.messages)


def test_no_json_and_no_coco(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(InputError, match="annotations.json: not JSON"):
        coco(tmp_path)
    (tmp_path / "annotations.json").write_text('{"images": []}')
    with pytest.raises(InputError, match="lacks annotations, categories"):
        coco(tmp_path)
    for content in ("7", "[]", '{"images": {}, "annotations": null, "categories": [1]}'):
        (tmp_path / "annotations.json").write_text(content)
        with pytest.raises(InputError, match="lacks images, annotations, categories; .* each a list of"):
            coco(tmp_path)
    with pytest.raises(InputError, match="no .*other.json"):
        coco(tmp_path, annotations="other.json")


@pytest.mark.parametrize("category", [{"id": 3}, {"id": 3, "name": None}, {"name": "cat"}, {"id": "3", "name": "cat"}])
def test_categories_need_an_id_and_a_name(tmp_path, category):
    change(write_coco(tmp_path), lambda content: content["categories"].append(category))
    with pytest.raises(InputError, match="annotations.json: category {.*} needs a number as id and a text as name"):
        coco(tmp_path)


def test_what_a_split_is_made_of(tmp_path):
    write_coco(tmp_path)
    for options in (
        {"splits": {"train": {"annotations": "annotations.json"}}}, {"splits": {"train": "annotations.json"}},
        {"images": None}, {"splits": {"train": None}},
    ):
        with pytest.raises(InputError, match="split 'train' is .*; give {annotations: FILE, images: FOLDER}, or a"):
            coco(tmp_path, **options)


def test_no_images(tmp_path):
    change(write_coco(tmp_path), lambda content: content["images"].clear())
    with pytest.raises(InputError, match="split 'train' is empty"):
        coco(tmp_path)


def test_real_coco(shared_data):
    splits = {
        name: {"annotations": f"annotations/instances_{name}2017.json", "images": f"images/{name}2017"}
        for name in ("train", "val")
    }
    train, val = (coco(shared_data / "coco_tiny", splits=splits, split=split) for split in splits)
    assert (len(train), len(val)) == (32, 6) and len(train.class_names) == 80 and train.category_ids[-1] == 90
    assert sum(len(r.boxes) for d in (train, val) for r in d.records) == 424
    assert sum(r.crowd.sum() for d in (train, val) for r in d.records) == 5
