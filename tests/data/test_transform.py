import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image

from detector.data.dataset import read_image
from detector.data.transform import Transform
from detector.postprocess import detections_of
from detector.types import StagePredictions


def picture(width=160, height=120):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


BOXES = np.array([[10.5, 20.0, 60.0, 80.25], [0.0, 0.0, 160.0, 120.0], [100.0, 50.0, 159.0, 119.0]])
LABELS = np.array([2, 0, 1])


@pytest.mark.parametrize("canvas", [(64, 64), (320, 240), (97, 33)])
def test_round_trip_to_original_pixels(canvas):
    """Ground truth through the transform and back through postprocess is the ground truth."""
    image, boxes, labels = Transform(canvas=canvas)(picture(), BOXES, LABELS, seed=0)
    assert image.shape == (3, canvas[1], canvas[0])
    logits = torch.nn.functional.one_hot(labels, 3).float()[None] * 20 - 10
    (found,) = detections_of(StagePredictions(logits, boxes[None]), [(120, 160)])
    np.testing.assert_allclose(found.boxes.numpy(), BOXES, atol=0.02)
    assert found.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "transform, back",
    [
        (A.HorizontalFlip(p=1), lambda b: b[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [160, 0, 160, 0]),
        (A.VerticalFlip(p=1), lambda b: b[:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 120, 0, 120]),
        (A.RandomBrightnessContrast(p=1), lambda b: b),
        (A.Affine(translate_px={"x": (-7, -7), "y": (5, 5)}, p=1), lambda b: b + [7, -5, 7, -5]),
        (A.Crop(10, 20, 150, 115, p=1), lambda b: b + [10, 20, 10, 20]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_boxes_follow_every_kind_of_transform(transform, back):
    box = np.array([[30.0, 40.0, 90.0, 100.0]])
    image, boxes, labels = Transform(canvas=(160, 120), transforms=[transform])(
        picture(), box, np.array([1]), seed=0
    )
    left = (160, 120)
    if isinstance(transform, A.Crop):
        left = (transform.x_max - transform.x_min, transform.y_max - transform.y_min)
    pixels = boxes.numpy() * [*left, *left]
    np.testing.assert_allclose(back(pixels), box, atol=0.05)


def test_labels_stay_integers_and_with_their_boxes():
    crop = A.Crop(0, 0, 80, 120, p=1)  # the third box is gone
    _, boxes, labels = Transform(canvas=(80, 120), transforms=[crop], min_visibility=0.1)(
        picture(), BOXES, LABELS, seed=0
    )
    assert labels.tolist() == [2, 0] and labels.dtype == torch.int64
    assert boxes.max() <= 1


def test_boxes_that_keep_too_little_are_dropped():
    crop = A.Crop(0, 0, 20, 120, p=1)
    box = np.array([[10.0, 10.0, 60.0, 60.0]])  # keeps a fifth
    for least, left in ((0.1, 1), (0.3, 0)):
        transform = Transform(canvas=(64, 64), transforms=[crop], min_visibility=least)
        assert len(transform(picture(), box, np.array([0]), seed=0)[1]) == left


def test_no_boxes_and_boxes_beyond_the_edge():
    _, boxes, labels = Transform(canvas=(64, 64))(picture(), np.zeros((0, 4)), np.zeros(0, dtype=np.int64), seed=0)
    assert boxes.shape == (0, 4) and labels.shape == (0,)
    _, boxes, _ = Transform(canvas=(64, 64))(picture(), np.array([[-3.0, 5.0, 165.0, 60.0]]), np.array([0]), seed=0)
    assert boxes[0, 0] == 0 and boxes[0, 2] == 1


def test_images_are_turned_upright(tmp_path):
    image = Image.fromarray(picture(40, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").shape == (40, 20, 3)
    Image.fromarray(picture(40, 20)).convert("L").save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (20, 40, 3)
