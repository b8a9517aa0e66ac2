import logging
import pickle
import re
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import albumentations
import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from scenes import CONF, SCENE, annotation_xml, object_xml, write_folder, write_image, write_mnist, write_voc
from sklearn.datasets import load_digits

from detector.classification.data.bccd_cells import BCCDCells, crop_of
from detector.classification.data.dataset import ClassificationDataset, Example
from detector.classification.data.digits import Digits
from detector.classification.data.image_folder import ImageFolder
from detector.classification.data.preprocessing import Preprocessing
from detector.classification.data.torchvision_images import TorchvisionImages
from detector.data.dataset import read_image
from detector.data.image_dataset import Unreadable
from detector.errors import InputError

LAST = [albumentations.Resize(8, 8), albumentations.ToFloat(max_value=255.0, p=1.0)]
PLAIN = Preprocessing(canvas=(8, 8), transforms=LAST)
PARTS = {"train": [0, 0.8], "val": [0.8, 0.9], "test": [0.9, 1]}
MNIST_SPLITS = {"train": [0, 0.9], "val": [0.9, 1], "test": "official"}
ALL = {"train": "all"}
RAW = "MNIST/raw"


def digits(**options) -> Digits:
    return Digits(**{"splits": PARTS, "split": "train", "transform": PLAIN, **options})


def folder(root: Path, **options) -> ImageFolder:
    return ImageFolder(root=str(root), **{"splits": PARTS, "split": "train", "transform": PLAIN, **options})


def mnist(root: Path, **options) -> TorchvisionImages:
    options = {"name": "MNIST", "splits": MNIST_SPLITS, "split": "train", "transform": PLAIN, **options}
    return TorchvisionImages(root=str(root), **options)


def cells(root: Path, **options) -> BCCDCells:
    return BCCDCells(root=str(root), **{"splits": ALL, "split": "train", "transform": PLAIN, **options})


def warnings_of(caplog) -> list[str]:
    """What was warned of; what is merely told depends on who has set the level."""
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def classes(data: ClassificationDataset) -> dict[str, int]:
    """How many images there are of each class."""
    return dict(Counter(data.class_names[one.label] for one in data.records))


def names(data: ClassificationDataset) -> list[str]:
    return [one.name for one in data.records]


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


# splits


MAKERS = {
    "digits": lambda path: digits,
    "folder": lambda path: lambda **options: folder(path, **options),
    "mnist": lambda path: lambda **options: mnist(path, **{"splits": PARTS, **options}),
}


@pytest.fixture(params=list(MAKERS))
def make(request, tmp_path):
    """A format whose splits are parts."""
    if request.param == "folder":
        write_folder(tmp_path, {"cat": 20, "dog": 31, "eel": 10})
    if request.param == "mnist":
        write_mnist(tmp_path, counts=(200, 6))
    return MAKERS[request.param](tmp_path)


def test_splits_are_disjoint_complete_and_hold_the_classes_in_equal_shares(make):
    whole = make(splits={"train": [0, 1]})
    splits = {name: make(split=name) for name in PARTS}
    ids = [one.image_id for data in splits.values() for one in data.records]
    assert sorted(ids) == [one.image_id for one in whole.records] == list(range(len(whole)))
    total = classes(whole)
    for name, (low, high) in PARTS.items():
        data = splits[name]
        assert data.class_names == whole.class_names
        for label, count in classes(data).items():
            assert abs(count - (high - low) * total[label]) <= 1
        assert [one.image_id for one in data.records] == sorted(one.image_id for one in data.records)
        for one in data.records:
            assert whole.records[one.image_id] == one


def test_splits_are_shuffled_but_the_same_for_every_seed(make):
    one, other = make(seed=1), make(seed=2)
    assert one.records == other.records
    assert [example.image_id for example in one.records] != list(range(len(one)))


def test_splits_may_overlap_and_leave_images_out():
    outer = {example.image_id for example in digits(splits={"train": [0, 0.8]}).records}
    inner = {example.image_id for example in digits(splits={"train": [0.7, 0.8]}).records}
    assert inner < outer and len(outer) < 1797


@pytest.mark.parametrize("splits, split, sentence", [
    (PARTS, "dev", r"^no split 'dev'; there are train, val, test$"),
    ({"train": 0.8}, "train", r"^data\.dataset\.splits\.train is 0\.8; expected where the part begins and ends, such"),
    ({"train": [0, 0.8], "val": [0.9]}, "train", r"splits\.val is \[0\.9\]"),
    ({"train": [0.8, 0.2]}, "train", r"splits\.train is \[0\.8, 0\.2\]"),
    ({"train": [0, 1.1]}, "train", r"splits\.train is \[0, 1\.1\]"),
    ({"train": ["0", "1"]}, "train", r"splits\.train is \['0', '1'\]"),
    ({"train": [0.5, 0.5]}, "train",
     r"^split 'train' is empty: the part \[0\.5, 0\.5\] of \d+ images, class by class; give more images or a wider "
     r"part$"),
])
def test_what_is_no_part_is_said(make, splits, split, sentence):
    with pytest.raises(InputError, match=sentence):
        make(splits=splits, split=split)


# the base


def dataset(**options) -> ClassificationDataset:
    examples = [Example(0, 0, "a"), Example(1, 1, "b")]
    return ClassificationDataset(**{"class_names": ["x", "y"], "records": examples, "transform": PLAIN, **options})


@pytest.mark.parametrize("options, sentence", [
    ({"on_bad_sample": "ignore"}, "on_bad_sample is 'ignore'; it must be skip or raise"),
    ({"class_names": ["x"]},
     "there is one class only (x): nothing is to be told apart; give images of at least two"),
    ({"class_names": []}, "there is one class only (none): nothing is to be told apart; give images of at least two"),
    ({"records": [Example(0, 0, "a"), Example(1, 2, "b")]},
     "b has the label 2, expected 0 to 1: labels count from 0"),
    ({"records": [Example(0, -1, "a")]}, "a has the label -1, expected 0 to 1: labels count from 0"),
    ({"records": []}, "a split is empty; give it images, or another share in data.dataset.splits"),
])
def test_what_the_base_refuses(options, sentence):
    with pytest.raises(InputError) as error:
        dataset(**options)
    assert str(error.value) == sentence


def test_training_on_one_class_is_refused_and_an_unseen_one_is_named(caplog):
    with pytest.raises(InputError, match=r"^all 1 training images show y: one class only, nothing is to be told apart"):
        dataset(records=[Example(0, 1, "a")]).warn_of_unseen()
    dataset(class_names=["x", "y", "z"]).warn_of_unseen()
    assert warnings_of(caplog) == ["there is no image of z in the training split: it cannot be learnt"]


def test_augmentation_follows_from_seed_epoch_and_index_alone(tmp_path):
    write_folder(tmp_path, {"cat": 5, "dog": 5})
    for name in ("cat", "dog"):  # the same picture everywhere: what differs is the augmentation
        for file in (tmp_path / name).iterdir():
            write_image(file, (9, 7))
    augment = [albumentations.Affine(rotate=(-90, 90), p=1.0), albumentations.RandomBrightnessContrast(p=1.0)]
    augmented = Preprocessing(canvas=(8, 8), transforms=LAST, augmentation=augment)
    keys = [(epoch, index) for epoch in range(3) for index in range(4)]
    data = folder(tmp_path, transform=augmented, seed=3)
    made = {key: data[key].image for key in keys}
    again = folder(tmp_path, transform=augmented, seed=3)
    assert all(torch.equal(again[key].image, made[key]) for key in reversed(keys))
    sent = pickle.loads(pickle.dumps(data))  # as to a worker
    assert all(torch.equal(sent[key].image, made[key]) for key in keys)
    assert len({image.numpy().tobytes() for image in made.values()}) == len(keys)
    assert not torch.equal(folder(tmp_path, transform=augmented, seed=4)[(0, 0)].image, made[(0, 0)])


def test_a_batch_leaves_out_what_does_not_open(tmp_path):
    data = folder(write_folder(tmp_path, {"cat": 3, "dog": 3}), splits={"train": [0, 1]})
    (tmp_path / "cat/1.png").write_bytes((tmp_path / "cat/1.png").read_bytes()[:40])
    batch, problems = data.collate([data[(0, index)] for index in range(6)])
    assert batch.images.shape == (5, 3, 8, 8) and batch.images.dtype == torch.float32
    assert batch.labels.tolist() == [0, 0, 1, 1, 1] and batch.image_ids == [0, 2, 3, 4, 5]
    (problem,) = problems
    assert problem.startswith(f"{tmp_path / 'cat/1.png'}: does not open as an image (")


# digits


def test_digits_are_those_of_scikit_learn_as_bytes():
    theirs = load_digits()
    data = digits(splits={"train": [0, 1]})
    assert data.class_names == list("0123456789") and len(data) == 1797
    assert [one.label for one in data.records] == theirs.target.tolist()
    pixels = np.stack([data.read(one) for one in data.records])
    assert pixels.dtype == np.uint8 and pixels.shape == (1797, 8, 8, 3)
    rounded = (2 * 255 * theirs.images.astype(int) + 16) // (2 * 16)  # to the nearest, a half upwards
    assert (pixels == rounded[..., None]).all() and pixels.min() == 0 and pixels.max() == 255
    assert names(data)[:2] == ["digit #0", "digit #1"]
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 sixteenths: an arc of ink


def test_other_class_names_than_the_digits_are_said():
    assert digits(class_names=list("0123456789")).class_names == list("0123456789")
    with pytest.raises(InputError, match=r"^the digits have the classes \['0', .*'9'\], not \['1', '0'\]$"):
        digits(class_names=["1", "0"])


def test_without_scikit_learn_digits_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"^the digits come with scikit-learn, which cannot be imported \(.*\); pip "
                                         r"install scikit-learn \(the extra `digits`\)$"):
        digits()


# torchvision


@pytest.mark.parametrize("name, third", [("MNIST", "2 - two"), ("FashionMNIST", "Pullover"), ("KMNIST", "su")])
def test_idx_files_are_read_as_grey_pictures(name, third, tmp_path, no_network):
    data = mnist(write_mnist(tmp_path, name), name=name)
    assert len(data) == 40 and len(data.class_names) == 10 and data.class_names[2] == third  # 4 a class, .9 rounds to 4
    assert [one.label for one in data.records] == [one.image_id % 10 for one in data.records]
    assert names(data)[0] == f"train #{data.records[0].image_id}"
    for one in data.records:
        pixels = data.read(one)
        assert pixels.dtype == np.uint8 and pixels.shape == (28, 28, 3)
        assert (pixels[0, 27] == 0).all() and (pixels[1:] == one.image_id).all()


def test_the_official_test_images_are_the_test_split(tmp_path, no_network):
    test = mnist(write_mnist(tmp_path), split="test")
    assert names(test) == [f"test #{number}" for number in range(6)]
    assert [one.label for one in test.records] == list(range(6))
    assert [test.read(one)[5, 5, 0] for one in test.records] == list(range(6))
    assert test[(0, 5)].image.max() == pytest.approx(5 / 255) and test[(0, 5)].label == 5


@pytest.mark.parametrize("options, sentence", [
    ({"name": "VOCDetection"},
     r"^data\.dataset\.name is 'VOCDetection'; there are MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100$"),
    ({"splits": {"train": [0, 1], "test": "offical"}},
     r"^data\.dataset\.splits\.test is 'offical'; expected official \(the test images\) or a part of the training "
     r"images, such as \[0, 0\.9\]$"),
    ({"split": "dev"}, r"^no split 'dev'; there are train, val, test$"),
    ({"class_names": ["a", "b"]}, r"^MNIST has the classes \['0 - zero', .*\], not \['a', 'b'\]$"),
])
def test_what_torchvision_images_refuse(options, sentence, tmp_path, no_network):
    with pytest.raises(InputError, match=sentence):
        mnist(write_mnist(tmp_path), **options)


@pytest.mark.parametrize("damage", ["missing", "one missing", "cut", "empty", "another format"])
def test_files_that_can_be_neither_read_nor_fetched_are_said(damage, tmp_path, no_network):
    if damage != "missing":
        write_mnist(tmp_path, images=2049 if damage == "another format" else 2051)
    file = tmp_path / RAW / "train-images-idx3-ubyte"
    if damage == "one missing":
        file.unlink()
    if damage in ("cut", "empty"):
        file.write_bytes(file.read_bytes()[: 1000 if damage == "cut" else 0])
    with pytest.raises(InputError) as error:
        mnist(tmp_path)
    sentence = re.escape(f"MNIST can be neither read from {tmp_path}/{RAW} nor fetched (") + r".+\); " + re.escape(
        "remove that folder and run the command where there is a network, or copy the folder from a machine that has it"
    )
    assert re.fullmatch(sentence, str(error.value))
    assert ("no network" in str(error.value)) == ("missing" in damage)


# folders


def test_classes_are_the_folders_names_in_natural_order(tmp_path):
    write_folder(tmp_path, {"9": 1, "10": 2, "b": 1, "A": 1, "c 2": 1, "c 10": 1})
    data = folder(tmp_path, splits={"train": [0, 1]})
    assert data.class_names == ["9", "10", "A", "b", "c 2", "c 10"]
    assert names(data) == ["9/0.png", "10/0.png", "10/1.png", "A/0.png", "b/0.png", "c 2/0.png", "c 10/0.png"]
    assert [one.image_id for one in data.records] == list(range(7))
    assert [one.label for one in data.records] == [0, 1, 1, 2, 3, 4, 5]
    assert all(one.path == tmp_path / one.name for one in data.records)


def test_given_class_names_fix_the_labels(tmp_path):
    write_folder(tmp_path, {"cat": 2, "dog": 1})
    data = folder(tmp_path, class_names=["dog", "eel", "cat"], splits={"train": [0, 1]})
    assert data.class_names == ["dog", "eel", "cat"] and [one.label for one in data.records] == [2, 2, 0]
    with pytest.raises(InputError) as error:
        folder(tmp_path, class_names=["dog", "eel"])
    assert str(error.value) == (
        f"{tmp_path / 'cat'} is none of the classes that data.dataset.class_names gives (dog, eel); add 'cat' there, "
        "or move the folder away"
    )


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_folders_of_splits_are_the_splits(val, tmp_path, caplog):
    write_folder(tmp_path, {"train/cat": 3, "train/dog": 2, f"{val}/cat": 1, "test/dog": 1, "test/eel": 2})
    splits = {name: folder(tmp_path, split=name) for name in PARTS}
    assert all(data.class_names == ["cat", "dog", "eel"] for data in splits.values())
    assert names(splits["train"]) == ["train/cat/0.png", "train/cat/1.png", "train/cat/2.png", "train/dog/0.png",
                                      "train/dog/1.png"]
    assert names(splits["val"]) == [f"{val}/cat/0.png"]
    assert names(splits["test"]) == ["test/dog/0.png", "test/eel/0.png", "test/eel/1.png"]
    ids = [one.image_id for data in splits.values() for one in data.records]
    assert sorted(ids) == list(range(9)) and [one.image_id for one in splits["test"].records] == [0, 1, 2]
    assert not warnings_of(caplog)


def test_without_a_folder_val_it_is_a_tenth_of_train(tmp_path):
    write_folder(tmp_path, {"train/cat": 20, "train/dog": 10, "test/cat": 1})
    train, val, test = (folder(tmp_path, split=name) for name in PARTS)
    assert classes(train) == {"cat": 18, "dog": 9} and classes(val) == {"cat": 2, "dog": 1} and len(test) == 1
    assert not {*names(train)} & {*names(val)} and all(name.startswith("train/") for name in names(val))


def test_a_class_may_be_called_like_a_split(tmp_path):
    data = folder(write_folder(tmp_path, {"train": 10, "bus": 10}))
    assert data.class_names == ["bus", "train"] and classes(data) == {"bus": 8, "train": 8}


def test_endings_count_in_any_case_and_hidden_files_do_not(tmp_path, caplog):
    for ending in (".JPG", ".Png", ".jpeg", ".bmp", ".webp", ".tif", ".TIFF", ".gif"):
        write_folder(tmp_path, {"cat": 1, "dog": 1}, ending)
    for hidden in (".DS_Store", "cat/._0.png", "cat/.hidden.png", "cat/.ipynb_checkpoints/0.png", ".git/0.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"")
    data = folder(tmp_path, splits={"train": [0, 1]})
    assert classes(data) == {"cat": 8, "dog": 8} and not warnings_of(caplog)


def test_what_is_found_and_what_is_left_out_is_counted_and_named(tmp_path, caplog):
    write_folder(tmp_path, {"cat": 10, "dog": 5, "cat/deeper": 1, "eel": 0, "fox/deeper": 1})
    write_image(tmp_path / "stray.png", (8, 8))
    for name in ("cat/a.txt", "cat/b.csv", "dog/Thumbs.db", "dog/d.heic", "labels.csv"):
        (tmp_path / name).write_text("no picture")
    with caplog.at_level(logging.INFO):
        data = folder(tmp_path, splits={"train": [0, 0.8]})
    assert data.class_names == ["cat", "dog"]
    assert sorted(caplog.messages) == sorted([
        f"{tmp_path}: left out 2 folder(s) inside a class folder: cat/deeper, fox/deeper",
        f"{tmp_path}: left out 5 file(s) that are no pictures: cat/a.txt, cat/b.csv, dog/d.heic, …",
        f"{tmp_path}: left out 2 class folder(s) without a picture: eel, fox",
        f"{tmp_path}: left out 1 picture(s) outside of a class folder: stray.png",
        f"{tmp_path} (train): 8 cat, 4 dog",
    ])


def test_what_lies_beside_the_folders_of_splits_is_named(tmp_path, caplog):
    folder(write_folder(tmp_path, {"train/cat": 2, "train/dog": 2, "val/cat": 1, "extra/cat": 1}))
    assert warnings_of(caplog) == [f"{tmp_path}: left out 1 folder(s) and picture(s) beside those of the splits: extra"]


@pytest.mark.parametrize("counts, options, sentence", [
    (None, {}, "no data folder {root}; set data.dataset.root (tools/eval.py: root) to one that holds a folder of "
               "pictures for each class"),
    ({}, {}, "{root} holds no picture in a class folder (it is empty); give pictures with one of the endings .jpg "
             ".jpeg .png .bmp .webp .tif .tiff .gif as {root}/CLASS/PICTURE"),
    ({"": 4}, {}, "{root} holds no picture in a class folder (4 picture(s) outside of a class folder: 0.png, 1.png, "
                  "2.png, …); give pictures with one of the endings .jpg .jpeg .png .bmp .webp .tif .tiff .gif as "
                  "{root}/CLASS/PICTURE"),
    ({"cat": 3}, {}, "there is one class only (cat): nothing is to be told apart; give images of at least two"),
    ({"train/cat": 1, "train/dog": 1}, {"split": "test"},
     "{root} has no folder test, but train; add it, or choose another split"),
    ({"test/cat": 1, "test/dog": 1}, {}, "{root} has no folder train, but test; add it, or choose another split"),
    ({"train/cat": 1, "val/cat": 1, "valid/cat": 1}, {},
     "{root} holds both val and valid, which name the same split; merge them"),
    ({"cat": 2, "dog": 2}, {"split": "val"}, "split 'val' is empty: the part [0.8, 0.9] of 4 images, class by class; "
                                             "give more images or a wider part"),
])
def test_what_folders_refuse(counts, options, sentence, tmp_path):
    root = tmp_path / "pictures"
    if counts is not None:
        root.mkdir()
        write_folder(root, counts)
    with pytest.raises(InputError) as error:
        folder(root, **options)
    assert str(error.value) == sentence.format(root=root)


def test_broken_pictures_are_unreadable_when_read_or_raise(tmp_path):
    write_folder(tmp_path, {"cat": 1, "dog": 1})
    (tmp_path / "cat/0.png").write_text("no picture")
    data = folder(tmp_path, splits={"train": [0, 1]})
    bad = data[(0, 0)]
    assert isinstance(bad, Unreadable)
    assert bad.reason.startswith(f"{tmp_path / 'cat/0.png'}: does not open as an image (")
    assert data[(0, 1)].label == 1
    with pytest.raises(InputError, match=r"0\.png: does not open.*; pass data\.dataset\.on_bad_sample=skip to go on"):
        folder(tmp_path, splits={"train": [0, 1]}, on_bad_sample="raise")[(0, 0)]


def pictures_of_modes() -> dict[str, tuple[Image.Image, list]]:
    """By file name a picture and the RGB of its first row, worked out by hand."""
    grey = np.array([[0, 100, 255]], dtype=np.uint8)
    clear = np.array([[[10, 20, 30, 0], [40, 50, 60, 128]]], dtype=np.uint8)
    palette = Image.fromarray(np.array([[1, 0]], dtype=np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    return {
        "grey.png": (Image.fromarray(grey), [[0] * 3, [100] * 3, [255] * 3]),
        "rgba.png": (Image.fromarray(clear), [[10, 20, 30], [40, 50, 60]]),  # as if it were opaque
        "16bit.png": (Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint16)), [[0] * 3, [100] * 3, [255] * 3]),
        "palette.png": (palette, [[0, 0, 255], [255, 0, 0]]),
        "cmyk.tif": (Image.fromarray(np.array([[[0, 255, 255, 0], [0, 0, 0, 255]]], dtype=np.uint8), "CMYK"),
                     [[255, 0, 0], [0, 0, 0]]),
    }


@pytest.mark.parametrize("file", list(pictures_of_modes()))
def test_pictures_of_any_mode_are_read_as_in_detection(file, tmp_path):
    write_folder(tmp_path, {"dog": 1, "cat": 0})
    picture, expected = pictures_of_modes()[file]
    picture.save(tmp_path / "cat" / file)
    data = folder(tmp_path, splits={"train": [0, 1]})
    pixels = data.read(data.records[0])
    assert pixels[0].tolist() == expected and (pixels == read_image(tmp_path / "cat" / file)).all()
    assert data[(0, 0)].image.shape == (3, 8, 8)


def test_pictures_are_turned_upright(tmp_path):
    write_folder(tmp_path, {"dog": 1, "cat": 0})
    picture = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 0]]], dtype=np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    picture.save(tmp_path / "cat/turned.png", exif=exif)
    data = folder(tmp_path, splits={"train": [0, 1]})
    assert data.read(data.records[0])[:, 0, 0].tolist() == [255, 0]


# cells


@pytest.mark.parametrize("box, size, margin, square, expected", [
    ((10, 20, 20, 40), (100, 200), 0, False, (10, 20, 20, 40)),
    ((10, 20, 20, 40), (100, 200), 0.1, False, (9, 18, 21, 42)),
    ((10.2, 20.9, 19.1, 39), (100, 200), 0, False, (10, 20, 20, 39)),  # outwards to whole pixels
    ((100, 10, 170, 20), (100, 200), 0.1, False, (93, 9, 177, 21)),
    ((0, 0, 10, 10), (100, 200), 0.5, False, (0, 0, 15, 15)),  # clipped at the corners
    ((190, 90, 200, 100), (100, 200), 0.5, False, (185, 85, 200, 100)),
    ((5, 5, 5.0000001, 5.0000001), (100, 200), 0, False, (5, 5, 6, 6)),  # one pixel at least
    ((199.9999999, 99.9999999, 200, 100), (100, 200), 0, False, (199, 99, 200, 100)),
    ((10, 20, 20, 40), (100, 200), 0, True, (5, 20, 25, 40)),
    ((10, 20, 21, 40), (100, 200), 0, True, (6, 20, 26, 40)),  # the odd pixel to the right
    ((0, 20, 10, 40), (100, 200), 0, True, (0, 20, 20, 40)),  # moved into the picture
    ((195, 20, 200, 40), (100, 200), 0, True, (180, 20, 200, 40)),
    ((20, 90, 60, 100), (100, 200), 0, True, (20, 60, 60, 100)),
    ((5, 0, 25, 80), (100, 30), 0, True, (0, 0, 30, 80)),  # the picture is narrower
    ((10, 20, 20, 40), (100, 200), 0.1, True, (3, 18, 27, 42)),  # of the box with its margin
])
def test_crops_by_hand(box, size, margin, square, expected):
    assert crop_of(np.array(box, dtype=np.float64), size, margin=margin, square=square) == expected


def test_every_object_is_an_image(tmp_path):
    root = write_voc(tmp_path)
    data = cells(root, margin=0.1)
    assert data.class_names == ["cat", "dog"] and names(data) == [
        "a.png #1", "a.png #2", "b.png #1", "d.png #1", "d.png #2", "d.png #3"
    ]
    assert [one.label for one in data.records] == [0, 1, 1, 0, 0, 1]
    assert [one.image_id for one in data.records] == list(range(6))
    a = read_image(root / "JPEGImages/a.png")  # boxes (10, 5, 40, 30) and (42.5, 12.25, 70, 55) of 80×60
    assert (data.read(data.records[0]) == a[2:33, 7:43]).all()  # 3 and 2.5 more on each side
    assert (data.read(data.records[1]) == a[7:60, 39:73]).all()  # 2.75 and 4.275
    assert (data.read(data.records[2]) == read_image(root / "JPEGImages/b.png")).all()
    assert cells(root, margin=0.1).records == data.records
    squares = cells(root, square=True)
    assert all(np.ptp(squares.read(one).shape[:2]) == 0 for one in squares.records[:2])
    assert [one.label for one in cells(root, class_names=["dog", "cat"]).records] == [1, 0, 0, 1, 1, 0]


def test_pictures_are_opened_once_and_crops_go_to_workers(tmp_path):
    root = write_voc(tmp_path)
    data = cells(root)
    first = data[(0, 3)].image
    for file in (root / "JPEGImages").iterdir():
        file.unlink()
    for kept in (data, pickle.loads(pickle.dumps(data))):
        assert torch.equal(kept[(0, 3)].image, first) and kept[(0, 4)].label == 0  # of the same picture
        bad = kept[(0, 0)]
        assert isinstance(bad, Unreadable) and bad.reason == f"{root / 'JPEGImages/a.png'}: no such image"


def test_ignored_objects_are_left_out(tmp_path):
    write_image(tmp_path / "x.png", (80, 60))
    objects = "".join(object_xml(name, (10, 10, 30, 30), hard) for name, hard in (("cat", 0), ("dog", 1), ("dog", 0)))
    (tmp_path / "x.xml").write_text(annotation_xml((80, 60), objects))
    data = cells(tmp_path, splits={"train": 1.0})
    assert names(data) == ["x.png #1", "x.png #2"] and [one.label for one in data.records] == [0, 1]


@pytest.mark.parametrize("scene, options, sentence", [
    (SCENE, {"margin": -0.1}, r"^data\.dataset\.margin is -0\.1; it must be a share of the box's sides, at least 0$"),
    (SCENE, {"margin": float("nan")}, r"margin is nan"),
    (SCENE, {"split": "dev"}, r"^no split 'dev'; there are train$"),
    (SCENE, {"class_names": ["cat", "eel"]}, r"class 'dog' is not among data\.dataset\.class_names \(cat, eel\)"),
    ({"a": ((80, 60), [("cat", 1, 1, 9, 9)])}, {}, r"^there is one class only \(cat\)"),
    ({"a": ((80, 60), [])}, {"class_names": ["cat", "dog"]}, r"^a split is empty; "),
])
def test_what_cells_refuse(scene, options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        cells(write_voc(tmp_path, scene), **options)


def test_no_data_folder_is_said_with_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"^no data folder .*/none; run `prepare`$"):
        cells(tmp_path / "none", how_to_get="run `prepare`")


@pytest.mark.parametrize("split, expected", [
    ("train", {"RBC": 2381, "WBC": 214, "Platelets": 209}),
    ("val", {"RBC": 967, "WBC": 87, "Platelets": 83}),
    ("test", {"RBC": 805, "WBC": 71, "Platelets": 69}),
])
def test_the_cells_of_bccd(split, expected, shared_data):
    config = OmegaConf.load(CONF / "data/classification/bccd_cells.yaml").dataset
    config.root = str(shared_data / "bccd")
    data = hydra.utils.instantiate(config, split=split, transform=PLAIN, _convert_="all")
    assert classes(data) == expected and len({*names(data)}) == len(data)
    for one in data.records:
        crop = data.read(one)
        assert min(crop.shape[:2]) >= 20 and crop.std() > 0, one.name


# configs


@pytest.mark.parametrize("name, canvas", [
    ("digits", [8, 8]), ("mnist", [28, 28]), ("fashion_mnist", [28, 28]), ("image_folder", [96, 96]),
    ("bccd_cells", [48, 48]),
])
def test_every_config_makes_its_splits(name, canvas, tmp_path, no_network):
    config = OmegaConf.load(CONF / f"data/classification/{name}.yaml")
    assert config.canvas == canvas and config.batch_size == (32 if name == "digits" else 64)
    assert config.num_workers == (0 if name == "digits" else 1)
    if name != "digits":
        root = config.dataset._get_node("root")._value()
        assert root == ("???" if name == "image_folder" else f"data/{'bccd' if name == 'bccd_cells' else name}")
        config.dataset.root = str(tmp_path)
    if "mnist" in name:
        write_mnist(tmp_path, config.dataset.name, (200, 6))
    elif name == "image_folder":
        write_folder(tmp_path, {"cat": 10, "dog": 20})
    elif name == "bccd_cells":
        lists = write_voc(tmp_path, {"a": ((80, 60), [("RBC", 1, 1, 9, 9), ("WBC", 9, 9, 30, 30)])}) / "ImageSets/Main"
        for split in PARTS:
            (lists / f"{split}.txt").write_text("a\n")
    made = [
        hydra.utils.instantiate(config.dataset, split=split, transform=PLAIN, seed=0, _convert_="all")
        for split in PARTS
    ]
    assert all(data[(0, 0)].image.shape == (3, 8, 8) for data in made)
    assert len({tuple(data.class_names) for data in made}) == 1
    with (CONF / f"data/classification/{name}.yaml").open() as file:
        assert file.readline().startswith("# ")
