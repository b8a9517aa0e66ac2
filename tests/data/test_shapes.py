import gc
import hashlib
import weakref

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from detector.data.shapes import CLASS_NAMES, Shapes
from detector.data.transform import Transform
from detector.errors import InputError


def shapes(**options) -> Shapes:
    options = {
        "splits": {"train": 30, "val": 30}, "split": "train", "size": (192, 144), "objects": (3, 8), "side": (16, 56),
        "crowding": 0.5, "seed": 0, **options,
    }
    return Shapes(transform=Transform(canvas=(192, 144)), **options)


def overlaps(data: Shapes) -> np.ndarray:
    """For every object, its largest IoU with another of its class in the picture."""
    largest = []
    for record in data.records:
        boxes, labels = torch.tensor(record.boxes), torch.tensor(record.labels)
        iou = (box_iou(boxes, boxes) * (labels[:, None] == labels)).fill_diagonal_(0)
        largest += iou.amax(1).tolist()
    return np.array(largest)


def test_the_same_bytes_everywhere():
    """Integers all the way: the digest holds on every platform."""
    data = shapes()
    digest = hashlib.sha256()
    for number in range(4):
        picture, record = data.draw(number)
        digest.update(picture.tobytes() + record.boxes.astype("<f8").tobytes() + record.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == "a1cf0afcc1a771549352e100856c0ddd8624eca50e0e3d304f0170f4d1c3c3e5"


def test_the_last_picture_is_kept_but_no_data_set():
    data = shapes()
    assert data.draw(3)[0] is data.draw(3)[0]
    alive = weakref.ref(data)
    del data
    gc.collect()
    assert alive() is None


def test_splits_differ_and_seeds_where_pictures_are_new():
    first = shapes().draw(0)[0]
    assert not np.array_equal(first, shapes(split="val").draw(0)[0])
    assert np.array_equal(first, shapes().draw(0)[0])
    assert not np.array_equal(first, shapes(seed=1, new_each_epoch=["train"]).draw(0)[0])
    for of_val in ({"split": "val", "new_each_epoch": ["train"]}, {}):  # runs of several seeds are tested on the same
        assert np.array_equal(shapes(**of_val).draw(0)[0], shapes(seed=1, **of_val).draw(0)[0])


def test_new_pictures_in_every_epoch():
    data = shapes(new_each_epoch=["train"])
    first, later, again = data[0, 3], data[1, 3], data[1, 3]
    assert first.target.image_id == 3 and later.target.image_id == 30 + 3
    assert torch.equal(later.image, again.image) and not torch.equal(first.image, later.image)
    kept = shapes(split="val", new_each_epoch=["train"])
    assert torch.equal(kept[0, 3].image, kept[1, 3].image)
    with pytest.raises(InputError, match="no split 'tarin'; there are train, val"):
        shapes(new_each_epoch=["tarin"])


def test_crowding_goes_from_none_to_heavy():
    alone = shapes(crowding=0.0)
    for record in alone.records:
        boxes = torch.tensor(record.boxes)
        assert box_iou(boxes, boxes).fill_diagonal_(0).max() == 0
    heavy = [(overlaps(shapes(crowding=c)) > 0.5).mean() for c in (0.0, 0.5, 1.0)]
    assert heavy[0] == 0 and 0.03 < heavy[1] < heavy[2] and heavy[2] > 0.3


@pytest.mark.parametrize("crowding", [0.0, 1.0])
def test_boxes_lie_inside_and_counts_are_kept(crowding):
    data = shapes(crowding=crowding)
    counts = [len(record.boxes) for record in data.records]
    assert max(counts) <= 8 and min(counts) >= 1
    for record in data.records:
        assert (record.boxes[:, :2] >= 0).all() and (record.boxes[:, 2:] <= [192, 144]).all()
    labels = np.concatenate([record.labels for record in data.records])
    assert set(labels.tolist()) == set(range(len(CLASS_NAMES)))


def test_a_third_of_every_object_stays_visible(monkeypatch):
    """Counted on the pictures themselves: every object is painted in a flat colour of its own."""
    painted = []

    def paint(shape, picture, random):
        x1, y1, x2, y2 = shape.box
        if not painted or painted[-1][0] is not picture:
            painted.append((picture, []))
        shapes_there = painted[-1][1]
        shapes_there.append(int((shape.mask > 0).sum()))
        picture[:, y1:y2, x1:x2][:, shape.mask > 0] = 1000 + len(shapes_there)

    monkeypatch.setattr("detector.data.shapes._Shape.paint", paint)
    data = shapes(crowding=1.0)
    painted.clear()  # the type checker has looked at a record
    for number in range(30, 50):  # beyond the records, one of which is kept
        data.draw(number)
    assert len(painted) == 20
    for picture, areas in painted:
        for order, area in enumerate(areas, 1):
            assert (picture[0] == 1000 + order).sum() >= area / 3


def test_edges_are_anti_aliased():
    masks = []
    data = shapes(crowding=0.0)
    random = np.random.default_rng(0)
    while len(masks) < 10:
        shape = data._propose(random, [])
        if shape is not None:
            masks.append(shape.mask)
    assert all(((mask > 0) & (mask < 16)).any() and (mask == 16).any() for mask in masks)


def test_wrong_options():
    with pytest.raises(InputError, match="between 0"):
        shapes(crowding=1.5)
    with pytest.raises(InputError, match="no split 'test'; there are train, val"):
        shapes(split="test")
