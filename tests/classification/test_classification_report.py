"""The report of a tested classifier: what stands in it, and that it needs nothing from outside."""

import re

import numpy as np
import pytest
from PIL import Image
from test_answers import answers_of, random_answers

from detector.classification.evaluation.analysis import PICTURES, analyse
from detector.classification.evaluation.answers import Answers
from detector.classification.evaluation.report import surest_and_most_wrong, write_report
from detector.classification.pictures.captioned import captioned
from detector.evaluation.analysis import write_tables

NAMES = ["<ant>", "bee & co", "cat", "object"]


def write(folder, answers, names=NAMES) -> tuple[str, dict]:
    """The page and its tables."""
    tables = analyse(answers, names, resamples=50)
    write_tables(tables, folder / "analysis", PICTURES)
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    examples = [
        (heading, [
            captioned(image, f"{names[answers.labels[one]]}\n{names[answers.predicted[one]]}")
            for one in positions
        ]) for heading, positions in surest_and_most_wrong(answers, 4).items()
    ]
    write_report(folder / "report.html", title="A <run>", facts={"images": len(answers.labels)}, tables=tables,
                 folder=folder / "analysis", examples=examples)
    return (folder / "report.html").read_text(), tables


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of random answers, with class names that HTML would take for its own."""
    return write(tmp_path_factory.mktemp("report"), random_answers(0, images=40))


def test_nothing_comes_from_outside(report):
    text, _ = report
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text) and not re.search(r'(src|href)="(?!data:|#)', text)
    targets = re.findall(r'href="#(\w+)"', text)
    assert targets == re.findall(r'<h2 id="(\w+)"', text)


def test_what_is_read_in_it(report):
    text, tables = report
    assert re.findall(r"<h[123][^>]*>(.*?)</h", text) == [
        "A &lt;run&gt;", "Scores", "By class", "Confusion", "Calibration", "Steps", "Images", "Right and surest",
        "Wrong and surest", "Least sure",
    ]
    assert "<td>images</td><td style=\"text-align: left\">40</td>" in text
    for row in tables["scores"][:2]:
        cells = "".join(f"<td>{row[name]:.3f}</td>" for name in ("value", "low", "high"))
        assert f"<td>{row['score']}</td>{cells}" in text
    assert f"<td>cross-entropy</td><td>{tables['scores'][2]['value']:.3f}</td><td>–</td><td>–</td>" in text
    assert "&lt;ant&gt;" in text and "<ant>" not in text and "bee &amp; co" in text
    for row in tables["steps"]:
        assert f"<tr><td>{row['step']}</td><td>{row['accuracy']:.3f}</td>" in text


def test_three_rows_of_images(report):
    text, _ = report
    _, *rows = re.split(r"<h3>", text[text.index('<h2 id="images">') :])
    assert [row.count('<figure><img src="data:image/jpeg;base64,') for row in rows] == [4, 4, 4]
    assert text.count("<img") == 3 * 4 + len(PICTURES)


def test_perfect_answers_in_one_step_and_an_absent_class(tmp_path):
    text, _ = write(tmp_path, answers_of([0, 1, 3], [0, 1, 3], classes=4))
    assert "<td>cat</td><td>0</td><td>–</td><td>–</td><td>–</td><td>–</td>" in text
    assert text.count("<p>None.</p>") == 2  # none is wrong, and all three are among the surest


def test_tables_are_written_and_drawn(tmp_path):
    _, tables = write(tmp_path, random_answers(0, images=40))
    for name in tables:
        assert (tmp_path / f"analysis/{name}.json").exists() and (tmp_path / f"analysis/{name}.csv").exists()
    assert sorted(file.stem for file in (tmp_path / "analysis").glob("*.png")) == ["calibration", "confusion", "steps"]


def test_an_example_is_enlarged_pixel_by_pixel():
    image = np.random.default_rng(0).integers(0, 256, (28, 20, 3), dtype=np.uint8)
    picture = captioned(image, "true: 7\npredicted: 1, 0.50")
    assert picture.width == 120 and picture.height > 168  # six times as large, and the caption
    assert np.array_equal(np.asarray(picture)[3:168:6, 3:120:6], image)
    assert (np.asarray(picture)[168:] < 128).any()  # something is written there
    assert np.array_equal(np.asarray(picture)[:168, :120], image.repeat(6, 0).repeat(6, 1))


def test_a_large_image_is_made_smaller_and_a_long_name_has_room():
    picture = captioned(np.zeros((600, 1200, 3), dtype=np.uint8), "a\nb")
    assert picture.width == 320 and 160 < picture.height < 240
    long = captioned(np.zeros((1, 8, 3), dtype=np.uint8), "name " * 20)
    assert long.width > 300 and isinstance(long, Image.Image)


def test_which_images_are_shown():
    """Of the first four the answer is right."""
    probability = np.array([0.75, 0.5, 0.875, 0.75, 0.5, 0.625])
    labels = np.array([0, 0, 0, 0, 1, 1])
    answers = Answers(np.arange(6), labels, np.stack([probability, 1 - probability], 1)[:, None])
    assert surest_and_most_wrong(answers, 1) == {"Right and surest": [2], "Wrong and surest": [5], "Least sure": [1]}
    assert surest_and_most_wrong(answers, 2) == {
        "Right and surest": [2, 0], "Wrong and surest": [5, 4], "Least sure": [1, 3],
    }
    assert surest_and_most_wrong(answers, 9) == {
        "Right and surest": [2, 0, 3, 1], "Wrong and surest": [5, 4], "Least sure": [],
    }
    assert surest_and_most_wrong(answers_of([1], [1], classes=2), 3)["Wrong and surest"] == []
