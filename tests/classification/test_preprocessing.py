import albumentations
import numpy as np
import pytest
import torch

from detector.classification.data.colour_space import ColourSpace
from detector.classification.data.preprocessing import Preprocessing
from detector.errors import InputError

TO_FLOAT = albumentations.ToFloat(max_value=255.0, p=1.0)
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def preprocessing(*transforms, canvas=(6, 4), augmentation=()) -> Preprocessing:
    return Preprocessing(
        canvas=canvas, augmentation=augmentation,
        transforms=[albumentations.Resize(canvas[1], canvas[0], interpolation=3), *transforms],
    )


def one_colour(colour: tuple, size=(7, 5)) -> np.ndarray:
    return np.full((size[1], size[0], 3), colour, dtype=np.uint8)


@pytest.mark.parametrize("transforms, colour, expected", [
    ([], RED, [255, 0, 0]),
    ([albumentations.ToGray(num_output_channels=1, p=1.0)], RED, [76]),  # .299 of 255
    ([albumentations.ToGray(num_output_channels=1, p=1.0)], GREEN, [150]),  # .587
    ([albumentations.ToGray(num_output_channels=1, p=1.0)], BLUE, [29]),  # .114
    ([ColourSpace("hsv")], RED, [0, 255, 255]),
    ([ColourSpace("hsv")], GREEN, [85, 255, 255]),  # a third of the circle
    ([ColourSpace("hsv")], BLUE, [170.5, 255, 255]),
    ([ColourSpace("hsv")], WHITE, [0, 0, 255]),
    ([ColourSpace("lab")], WHITE, [255, 128, 128]),
    ([ColourSpace("lab")], BLACK, [0, 128, 128]),
    ([ColourSpace("lab")], RED, [53.24 * 2.55, 80.09 + 128, 67.20 + 128]),
])
def test_colours_by_hand(transforms, colour, expected):
    made = preprocessing(*transforms, TO_FLOAT)
    image = made(one_colour(colour), seed=0)
    assert image.shape == (len(expected), 4, 6) and image.dtype == torch.float32 and made.channels == len(expected)
    np.testing.assert_allclose(255 * image.permute(1, 2, 0), np.tile(expected, (4, 6, 1)), atol=0.7)


def test_axes_stay_where_they_are():
    picture = one_colour(BLACK, (6, 4))
    picture[1, 5] = RED
    image = preprocessing(TO_FLOAT)(picture, seed=0)
    assert image.nonzero().tolist() == [[0, 1, 5]] and image[0, 1, 5] == 1


@pytest.mark.parametrize("space", [None, "hsv", "lab"])
@pytest.mark.parametrize("size", [(1, 1), (6, 4), (100, 3), (31, 57)])
def test_any_size_gives_the_canvas_from_0_to_1(space, size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = preprocessing(*([ColourSpace(space)] if space else []), TO_FLOAT)(noise, seed=0)
    assert image.shape == (3, 4, 6) and 0 <= image.min() and image.max() <= 1


def test_augmentation_comes_first_and_follows_the_seed():
    inverted = preprocessing(ColourSpace("hsv"), TO_FLOAT, augmentation=[albumentations.InvertImg(p=1.0)])
    cyan = inverted(one_colour(RED), seed=0)[:, 0, 0]
    assert (255 * cyan).round().tolist() == [128, 255, 255]  # half the circle from red
    noisy = preprocessing(TO_FLOAT, augmentation=[albumentations.RandomBrightnessContrast(p=1.0)])
    picture = one_colour((90, 120, 150))
    first, other, again = (noisy(picture, seed=seed) for seed in (1, 2, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert (picture == (90, 120, 150)).all()


def test_crops_go_before_the_size():
    picture = one_colour(BLACK, (12, 8))
    picture[2:6, 3:9] = WHITE  # what a crop of the middle keeps
    cropped = Preprocessing(canvas=(6, 4), transforms=[albumentations.CenterCrop(4, 6), TO_FLOAT])
    assert (cropped(picture, seed=0) == 1).all()


def test_another_size_than_the_canvas_is_said():
    exchanged = Preprocessing(canvas=(6, 4), transforms=[albumentations.Resize(6, 4), TO_FLOAT])
    with pytest.raises(InputError) as error:
        exchanged(one_colour(BLACK, (11, 7)), seed=0)
    assert str(error.value) == (
        "an image of 11×7 pixels comes out of the preprocessing with 4×6, data.canvas is 6×4: a batch needs images of "
        "one size; let a Resize or a crop of that size be among preprocessing.transforms"
    )


@pytest.mark.parametrize("last, found", [
    ([], "uint8, expected float32 from 0 to 1"),  # said at once
    ([albumentations.ToFloat(max_value=1.0, p=1.0)], "numbers from 0 to 255, expected 0 to 1"),
    ([albumentations.Normalize(mean=(0.5,) * 3, std=(0.5,) * 3, p=1.0)], "numbers from -1 to 1, expected 0 to 1"),
])
def test_other_values_than_0_to_1_are_said(last, found):
    picture = np.concatenate([one_colour(BLACK), one_colour(WHITE)])
    with pytest.raises(InputError) as error:
        preprocessing(*last)(picture, seed=0)
    assert str(error.value) == (
        f"the preprocessing gives {found}; let preprocessing.transforms end with albumentations.ToFloat "
        "(max_value: 255)"
    )


def test_an_unknown_colour_space_is_said():
    with pytest.raises(InputError, match=r"^colour space is 'cmyk'; there are hsv, lab$"):
        ColourSpace("cmyk")


LAST_OF_FOUR = [albumentations.Resize(4, 4), albumentations.ToFloat(max_value=255.0, p=1.0)]


def test_a_crop_may_be_larger_than_the_canvas_but_not_than_the_image():
    first = Preprocessing(canvas=(4, 4), transforms=[albumentations.CenterCrop(40, 40), *LAST_OF_FOUR])
    assert first(np.zeros((50, 60, 3), np.uint8), seed=0).shape == (3, 4, 4)
    with pytest.raises(InputError, match="an image of 30×20 pixels does not go through preprocessing.transforms"):
        first(np.zeros((20, 30, 3), np.uint8), seed=0)
