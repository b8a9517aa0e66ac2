"""What each step reads, pixel by pixel, of images made by hand."""

import pytest
import torch
from scenes import run_config

from detector.build import instantiate
from detector.classification.reads.columns import Columns
from detector.classification.reads.rows import Rows
from detector.classification.reads.spiral import Spiral, spiral
from detector.errors import InputError

# 3 rows of 4 pixels: the number of a pixel is its row, then its column
IMAGE = torch.tensor([[[0.0, 0.01, 0.02, 0.03], [0.10, 0.11, 0.12, 0.13], [0.20, 0.21, 0.22, 0.23]]])
TWO_CHANNELS = torch.cat([IMAGE, IMAGE + 0.5])


def read(reads, image: torch.Tensor) -> list[list[float]]:
    return [[round(value, 3) for value in row] for row in reads(image.unsqueeze(0))[0].tolist()]


def test_rows():
    reads = Rows(canvas=(4, 3), channels=1)
    assert read(reads, IMAGE) == [[0.0, 0.01, 0.02, 0.03], [0.1, 0.11, 0.12, 0.13], [0.2, 0.21, 0.22, 0.23]]
    assert (reads.steps, reads.features) == (3, 4)


def test_a_row_has_its_channels_one_after_the_other():
    reads = Rows(canvas=(4, 3), channels=2)
    assert read(reads, TWO_CHANNELS)[1] == [0.1, 0.11, 0.12, 0.13, 0.6, 0.61, 0.62, 0.63]


def test_columns():
    reads = Columns(canvas=(4, 3), channels=1)
    assert read(reads, IMAGE) == [[0.0, 0.1, 0.2], [0.01, 0.11, 0.21], [0.02, 0.12, 0.22], [0.03, 0.13, 0.23]]
    assert read(Columns(canvas=(4, 3), channels=2), TWO_CHANNELS)[0] == [0.0, 0.1, 0.2, 0.5, 0.6, 0.7]


@pytest.mark.parametrize("outwards", [False, True])
def test_spiral_of_single_pixels(outwards):
    path = [0.0, 0.01, 0.02, 0.03, 0.13, 0.23, 0.22, 0.21, 0.2, 0.1, 0.11, 0.12]
    reads = Spiral(canvas=(4, 3), channels=1, patch=1, outwards=outwards)
    assert read(reads, IMAGE) == [[value] for value in (path[::-1] if outwards else path)]


def test_spiral_of_patches():
    image = torch.arange(16.0).view(1, 4, 4)
    reads = Spiral(canvas=(4, 4), channels=1, patch=2)
    assert read(reads, image) == [[0, 1, 4, 5], [2, 3, 6, 7], [10, 11, 14, 15], [8, 9, 12, 13]]


@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 5), (5, 1), (4, 4), (3, 6), (7, 2)])
def test_a_spiral_visits_every_cell_once_and_goes_from_neighbour_to_neighbour(rows, columns):
    path = spiral(rows, columns)
    assert sorted(path) == [(row, column) for row in range(rows) for column in range(columns)]
    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in zip(path, path[1:]))


@pytest.mark.parametrize("reads", ["rows", "columns", "spiral", "cnn_rows"])
def test_each_place_is_where_its_step_reads(reads, tmp_path):
    """A change in a place changes that step of the sequence; of pixels, no other."""
    size = 64 if reads == "cnn_rows" else 6
    run = run_config(tmp_path, "experiment=digits", f"reads={reads}", "preprocessing=rgb")
    made = instantiate(run["reads"], canvas=(size, size), channels=3).eval()
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    before = made(image)
    assert before.shape == (1, made.steps, made.features) and made.places.shape == (made.steps, 4)
    area = (made.places[:, 2:] - made.places[:, :2]).prod(-1).sum()
    assert area == pytest.approx(1.0)
    for step, (x1, y1, x2, y2) in enumerate((made.places * size).round().int().tolist()):
        other = image.clone()
        other[..., y1:y2, x1:x2] = 1 - other[..., y1:y2, x1:x2]
        changed = (made(other) != before).any(-1)[0].nonzero().flatten().tolist()
        assert step in changed and (reads == "cnn_rows" or changed == [step])


def test_a_shuffle_is_the_same_for_all_images_and_all_runs():
    plain = Rows(canvas=(4, 3), channels=1)
    shuffled, again = (Rows(canvas=(4, 3), channels=1, shuffle_seed=1) for _ in range(2))
    assert shuffled.order.tolist() == again.order.tolist() != [0, 1, 2]
    assert sorted(read(shuffled, IMAGE)) == read(plain, IMAGE) != read(shuffled, IMAGE)
    assert torch.equal(shuffled.places, plain.places[shuffled.order])


@pytest.mark.parametrize("shape, words", [
    ((1, 1, 4, 3), "images of 1×4×3 .channels × rows × columns., expected 1×3×4; rows and columns are exchanged"),
    ((1, 3, 3, 4), "images of 3×3×4 .channels × rows × columns., expected 1×3×4$"),
    ((1, 1, 3, 5), "images of 1×3×5"),
])
def test_images_of_another_shape_are_refused(shape, words):
    with pytest.raises(InputError, match=words):
        Rows(canvas=(4, 3), channels=1)(torch.zeros(shape))


@pytest.mark.parametrize("options, canvas, words", [
    (["reads=spiral", "reads.patch=3"], (8, 8), "reads.patch is 3: a canvas of 8×8 pixels is no whole number"),
    (["reads=spiral", "reads.patch=0"], (8, 8), "reads.patch is 0"),
    (["reads=cnn_rows"], (8, 8), "data.canvas is 8×8 pixels, the CNN needs 32 a side"),
    (["reads=cnn_rows", "reads.stride=64"], (64, 64), "reads.stride is 64; the CNN has maps of 4, 8, 16, 32"),
])
def test_what_cannot_be_read_is_refused(options, canvas, words, tmp_path):
    run = run_config(tmp_path, "experiment=digits", *options)
    with pytest.raises(Exception, match=words) as error:
        instantiate(run["reads"], canvas=canvas, channels=1)
    assert isinstance(error.value.__cause__ or error.value, InputError)


def test_the_cnn_learns_at_a_rate_of_its_own_and_gets_gradients(tmp_path):
    run = run_config(tmp_path, "experiment=digits", "reads=cnn_rows", "reads.stride=32", "preprocessing=rgb")
    made = instantiate(run["reads"], canvas=(64, 64), channels=3)
    made(torch.rand(2, 3, 64, 64)).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in made.backbone.parameters())
