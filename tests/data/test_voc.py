import logging
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from scenes import SCENE, annotation_xml, object_xml, run_config, write_coco, write_image, write_voc

from detector.build import build_datamodule
from detector.data.coco import COCO
from detector.data.transform import Transform
from detector.data.voc import VOC
from detector.errors import InputError

RESIZE = Transform(canvas=(64, 48))
ALL = {"train": "all"}


def voc(root, **options) -> VOC:
    options = {"splits": ALL, "split": "train", "class_names": None, "one_based": False, **options}
    return VOC(root=str(root), transform=RESIZE, **options)


def one(tmp_path, objects: str, size=(80, 60), **options) -> VOC:
    """A data set of one image with these objects."""
    write_image(tmp_path / "x.png", size)
    (tmp_path / "x.xml").write_text(annotation_xml(size, objects))
    return voc(tmp_path, splits={"train": 1.0}, **options)


@pytest.mark.parametrize("one_based", [False, True])
def test_voc_and_coco_give_identical_targets(tmp_path, one_based):
    a = voc(write_voc(tmp_path / "voc", one_based=one_based), one_based=one_based)
    write_coco(tmp_path / "coco")
    b = COCO(
        root=str(tmp_path / "coco"), annotations="annotations.json", images="images", splits={"train": 1.0},
        split="train", class_names=None, transform=RESIZE,
    )
    assert a.class_names == b.class_names == ["cat", "dog"] and len(a) == len(b) == 4
    for index in range(4):
        x, y = a[(0, index)], b[(0, index)]
        assert torch.equal(x.image, y.image)
        torch.testing.assert_close(x.target.boxes, y.target.boxes)
        assert torch.equal(x.target.labels, y.target.labels) and x.target.size == y.target.size
    assert b.category_ids == [3, 17]


def test_boxes_are_normalised_to_the_canvas(tmp_path):
    sample = voc(write_voc(tmp_path))[(0, 0)]
    width, height = SCENE["a"][0]
    expected = torch.tensor([[10, 5, 40, 30], [42.5, 12.25, 70, 55]]) / torch.tensor([width, height, width, height])
    torch.testing.assert_close(sample.target.boxes, expected)
    assert sample.target.size == (height, width) and sample.image.shape == (3, 48, 64)


def test_only_direct_objects_count_and_difficult_ones_are_ignored(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>12</xmin><ymin>12</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></part>"
    text = object_xml("person", (10, 10, 40, 40), extra=part) + object_xml("dog", (1, 1, 9, 9), difficult=1)
    data = one(tmp_path, text)
    assert data.class_names == ["dog", "person"]
    record = data.records[0]
    assert record.labels.tolist() == [1, 0] and record.ignored.tolist() == [False, True]
    assert data[(0, 0)].target.labels.tolist() == [1]


def covered(number: object, name: str = "person", difficult: int = 0) -> str:
    """An object of which another tool says how much of it is hidden."""
    return object_xml(name, (10, 10, 40, 40), difficult, f"<covered>{number}</covered>")


def test_objects_are_ignored_above_a_number_and_not_at_it(tmp_path, caplog):
    objects = "".join(map(covered, ("0.951", "0.95", " 0.2 ", "1"))) + covered(0, difficult=1)
    objects += object_xml("person", (1, 1, 9, 9))  # by a tool that does not know the tag
    data = one(tmp_path, objects, ignore_above={"covered": 0.95})
    assert data.records[0].ignored.tolist() == [True, False, False, True, True, False]
    assert len(data[(0, 0)].target.labels) == 3 and not caplog.text
    for none in (None, {}):
        assert one(tmp_path, objects, ignore_above=none).records[0].ignored.tolist() == [False] * 4 + [True, False]


def test_any_tag_above_its_number_is_enough(tmp_path):
    objects = "".join(
        object_xml("cat", (1, 1, 9, 9), extra=f"<covered>{a}</covered><blurred>{b}</blurred>")
        for a, b in ((0, 0), (1, 0), (0, 3), (1, 3))
    )
    data = one(tmp_path, objects, ignore_above={"covered": 0.5, "blurred": 2})
    assert data.records[0].ignored.tolist() == [False, True, True, True]


def test_tags_that_no_object_has_are_named_once(tmp_path, caplog):
    root = write_voc(tmp_path)
    with caplog.at_level(logging.WARNING):
        data = voc(root, ignore_above={"coverd": 0.5, "difficult": 1, "blurred": 2})
    (message,) = caplog.messages
    assert message == (f"{root} (train): no object has a tag coverd or blurred, which data.dataset.ignore_above names; "
                       "correct it there (the tags are bndbox, difficult, name)")
    assert not any(record.ignored.any() for record in data.records)


def test_where_there_is_no_object_no_tag_is_missed(tmp_path, caplog):
    root = write_voc(tmp_path, {"a": ((40, 40), [])})
    assert len(voc(root, class_names=["cat"], ignore_above={"covered": 0.5})) == 1 and not caplog.text


@pytest.mark.parametrize("given", [0.95, ["covered"], {"covered": "high"}, {"covered": None}, {"covered": True},
                                   {"covered": float("nan")}, {3: 0.5}, {"bndbox/xmin": 9}])
def test_what_gives_no_number_by_the_name_of_a_tag_is_refused(given, tmp_path):
    with pytest.raises(InputError, match=r"ignore_above is .*; it must give numbers by names of tags, such as"):
        one(tmp_path, covered(1), ignore_above=given)


def test_decimals_and_one_based_pixels(tmp_path):
    record = one(tmp_path, object_xml("cat", (1, 1.5, 80, 60)), one_based=True).records[0]
    np.testing.assert_allclose(record.boxes, [[0, 0.5, 80, 60]])


def test_bad_boxes_are_clipped_or_skipped_and_reported_with_their_line(tmp_path, caplog):
    objects = (
        object_xml("cat", (-20, 10, 30, 30)) + object_xml("cat", (50, 50, 50, 50)) + object_xml("cat", (90, 5, 99, 9))
    )
    with caplog.at_level(logging.WARNING):
        record = one(tmp_path, objects).records[0]
    np.testing.assert_allclose(record.boxes, [[0, 10, 30, 30]])
    (message,) = caplog.messages
    assert "3 problem(s)" in message
    assert "x.xml, line 3: box (-20, 10, 30, 30) leaves the 80×60 image; clipped" in message
    assert "x.xml, line 7: box (50, 50, 50, 50) has no area" in message


@pytest.mark.parametrize(
    "content, expected",
    [
        ("<annotation><size>", "x.xml: not an XML annotation"),
        ("<annotation></annotation>", "x.xml: <size/height> is missing, expected a number"),
        (annotation_xml((80, 60), object_xml("cat", ("left", 1, 9, 9))), "line 3: <bndbox/xmin> is 'left'"),
        (annotation_xml((80, 60), covered("much", "cat")), "x.xml, line 3: <covered> is 'much', expected a number"),
        (annotation_xml((80, 60), covered("", "cat", difficult=1)), "line 3: <covered> is '', expected a number"),
        (annotation_xml((80, 60), object_xml("cat", (1, "nan", 9, 9))), "line 3: <bndbox/ymin> is 'nan'"),
        (annotation_xml(("inf", 60), ""), "x.xml: <size/width> is 'inf', expected a number"),
        (annotation_xml((80, 60), "<object></object>"), "line 2: object without a <name>"),
        (annotation_xml((80, 60), "<object><name/></object>"), "line 2: object without a <name>"),
    ],
)
def test_broken_annotations_are_named_and_skipped_or_refused(tmp_path, caplog, content, expected):
    root = write_voc(tmp_path / "voc")
    (root / "ImageSets/Main/all.txt").write_text("a\nx\n")
    (root / "Annotations/x.xml").write_text(content)
    write_image(root / "JPEGImages/x.png", (80, 60))
    with caplog.at_level(logging.WARNING):
        data = voc(root, ignore_above={"covered": 0.5})
    assert len(data) == 1 and data.class_names == ["cat", "dog"] and expected in caplog.text
    with pytest.raises(InputError, match="on_bad_sample=skip"):
        voc(root, on_bad_sample="raise", ignore_above={"covered": 0.5})


def test_unknown_class(tmp_path):
    text = object_xml("cat", (1, 1, 9, 9)) + object_xml("unicorn", (1, 1, 9, 9))
    with pytest.raises(InputError, match=r"x.xml, line 7: class 'unicorn' is not among .*\(cat\)"):
        one(tmp_path, text, class_names=["cat"])
    assert len(one(tmp_path, text, class_names=["cat"], unknown_classes="skip").records[0].labels) == 1


def test_missing_things_are_named(tmp_path):
    with pytest.raises(InputError, match="no data folder .*nowhere; run this"):
        voc(tmp_path / "nowhere", how_to_get="run this")
    root = write_voc(tmp_path / "voc")
    with pytest.raises(InputError, match="no split 'vall'; there are train"):
        voc(root, split="vall")
    with pytest.raises(InputError, match="no list .*everything.txt; there are: all"):
        voc(root, splits={"train": "everything"})
    (root / "ImageSets/Main/none.txt").write_text("")
    with pytest.raises(InputError, match="split 'train' of .* is empty"):
        voc(root, splits={"train": "none"})


def test_images_that_do_not_open(tmp_path):
    root = write_voc(tmp_path)
    (root / "JPEGImages/b.png").write_bytes(b"not a picture")
    (root / "JPEGImages/d.png").unlink()
    write_image(root / "JPEGImages/c.png", (11, 11))
    data = voc(root)
    assert "b.png: does not open as an image" in data[(0, 1)].reason
    assert "c.png: is 11×11 pixels, its annotation says 50×70" in data[(0, 2)].reason
    assert "no such image" in data[(0, 3)].reason
    with pytest.raises(InputError, match="b.png.*on_bad_sample=skip"):
        voc(root, on_bad_sample="raise")[(0, 1)]


def test_fractions_are_disjoint_and_the_same_for_every_seed(tmp_path):
    root = write_voc(tmp_path, {f"{i:02d}": ((40, 40), [("cat", 1, 1, 9, 9)]) for i in range(20)})
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}

    def stems(split, seed):
        return {record.path.stem for record in voc(root, splits=shares, split=split, seed=seed).records}

    parts = [stems(split, 0) for split in shares]
    assert [len(part) for part in parts] == [16, 2, 2] and len(set.union(*parts)) == 20
    assert stems("val", 0) == parts[1] == stems("val", 1)
    with pytest.raises(InputError, match="sum up to 1"):
        voc(root, splits={"train": 0.8, "val": 0.4})


def test_class_names_are_those_of_all_splits_whichever_is_read(tmp_path, caplog):
    root = write_voc(tmp_path, {f"{i:02d}": ((40, 40), [(f"class {i}", 1, 1, 9, 9)]) for i in range(4)})
    (root / "Annotations/01.xml").write_text("<annotation>")
    shares = {"train": 0.25, "val": 0.25}  # two of the pictures, 01 among them, are in neither
    with caplog.at_level(logging.WARNING):
        for split in shares:
            for seed in (0, 1):
                data = voc(root, splits=shares, split=split, seed=seed)
                assert data.class_names == ["class 0", "class 2", "class 3"] and len(data) == 1
    assert not caplog.text  # what is broken is for its own split to report


def test_splits_of_several_kinds_and_of_no_objects(tmp_path):
    root = write_voc(tmp_path, {"a": ((40, 40), [])})
    with pytest.raises(InputError, match="splits are {'train': 'all', 'test': 0.1}; they must all be fractions"):
        voc(root, splits={"train": "all", "test": 0.1}, split="test")
    with pytest.raises(InputError, match="no annotation names a class; .* set data.dataset.class_names"):
        voc(root)
    with pytest.raises(InputError, match="split 'test' of .* is empty: none of 0 annotations could be used"):
        voc(root, splits={"test": None}, split="test")
    assert len(voc(root, class_names=["cat"])) == 1


def test_real_voc(shared_data):
    data = voc(shared_data / "voc", splits={"test": ["VOC2007/test"]}, split="test", one_based=True)
    assert len(data) == 1018 and len(data.class_names) == 20
    record = data.records[0]
    assert data.read(record).shape[:2] == record.size


def test_real_bccd_reports_its_two_empty_boxes(shared_data, caplog):
    with caplog.at_level(logging.WARNING):
        data = voc(shared_data / "bccd", splits={"train": "trainval"})
    assert len(data) == 292 and data.class_names == ["Platelets", "RBC", "WBC"]
    assert "2 problem(s)" in caplog.text and "BloodImage_00338.xml, line 158" in caplog.text


def edges(image) -> np.ndarray:
    """The boxes of an image as its XML gives them, (N, 4)."""
    boxes = ElementTree.parse(image.parents[1] / "Annotations" / f"{image.stem}.xml").findall("object/bndbox")
    return np.array([[float(box.findtext(edge)) for edge in ("xmin", "ymin", "xmax", "ymax")] for box in boxes])


CROWDS = [  # data, splits other than its own, and of each split how many images, objects, and objects ignored
    ("mot15_people", {}, {"train": (412, 3072, 429), "val": (93, 743, 76), "test": (104, 850, 115)}),
    ("mot15_people", {"train": "train"}, {"train": (319, 2329, 353)}),
    ("mot15_people", {"train": "seqtrain", "val": "seqval", "test": "seqtest"},
     {"train": (398, 3206, 484), "val": (34, 172, 18), "test": (84, 544, 42)}),
    ("mot15_people", {"test": "[train,val,test]"}, {"test": (516, 3922, 544)}),
    ("voc07_crowd", {}, {"train": (283, 1899, 446), "val": (96, 651, 171), "test": (477, 3237, 768)}),
    ("voc07_crowd", {"train": "trainval", "test": "test"}, {"train": (379, 2550, 617), "test": (98, 687, 151)}),
]


@pytest.mark.parametrize("data, splits, counts", CROWDS)
def test_real_crowds(data, splits, counts, shared_data, tmp_path, caplog):
    """As many as their makers say, and every box where the XML has it, counted from 0."""
    chosen = [f"data.dataset.splits.{split}={lists}" for split, lists in splits.items()]
    config = run_config(tmp_path, f"data={data}", f"data.dataset.root={shared_data}/crowd/{data}", *chosen)
    module = build_datamodule(config)
    with caplog.at_level(logging.WARNING):
        for split, expected in counts.items():
            records = module.split(split).records
            boxes = np.concatenate([record.boxes for record in records])
            assert (len(records), len(boxes), sum(record.ignored.sum() for record in records)) == expected
            given = np.concatenate([edges(record.path) for record in records])
            first = given.min()  # 1 where pixels count from 1, as some object reaches the picture's edge
            assert first == (data == "voc07_crowd")
            np.testing.assert_allclose(boxes, given - [first, first, 0, 0])
            beyond = max((record.boxes[:, 2:] - record.size[::-1]).max() for record in records)
            assert -1 < beyond <= 0
    assert not caplog.text


def test_the_real_crowds_of_voc_are_of_its_test_pictures(shared_data):
    """A detector trained on the `VOC2007` beside them, which is made of VOC 2007 test, has seen its share of them."""
    folders = (shared_data / "crowd/voc07_crowd", shared_data / "voc/VOCdevkit/VOC2007")
    crowd, voc07 = ({file.stem for file in (folder / "Annotations").iterdir()} for folder in folders)
    assert len(crowd) == 477 and crowd <= voc07


def test_images_of_the_same_names_as_excluded_ones_are_tested_alone(tmp_path):
    """So that a detector can be tested on pictures that another data set shares with its own."""
    root, held = write_voc(tmp_path / "voc"), tmp_path / "held/Annotations"
    held.mkdir(parents=True)
    (held / "b.xml").write_text("<annotation/>")

    def names(split: str) -> list[str]:
        data = voc(root, splits={"train": "all", "val": "all", "test": "all"}, split=split, exclude=str(held.parent))
        return [record.path.stem for record in data.records]

    assert names("train") == names("val") == [name for name in names("test") if name != "b"]
    assert "b" in names("test")
    with pytest.raises(InputError, match="exclude is .*nowhere, where no annotation"):
        voc(root, exclude=str(tmp_path / "nowhere"))
