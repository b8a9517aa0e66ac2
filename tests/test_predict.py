"""Predicting: pictures, videos, from Python, and what an interruption leaves."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from running import command, refused
from scenes import SCENE, write_image, write_video, write_voc

from detector.commands.predict import drawn_names
from detector.pictures.drawing import draw

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short


def test_predict_draws_pictures_and_skips_what_is_none(trained, tmp_path, capsys, caplog):
    write_voc(tmp_path / "data")
    folder = tmp_path / "data/JPEGImages"
    (folder / "broken.jpg").write_bytes(b"no picture")
    command(
        "predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={folder}", "threshold=0.0", "animation=gif",
        f"output_dir={tmp_path}/found", f"hydra.run.dir={tmp_path}/hydra",
    )
    said = capsys.readouterr()
    assert "4 pictures, 1 unreadable skipped" in said.out and "broken.jpg" in said.err + said.out + caplog.text
    found = json.loads((tmp_path / "found/predictions.json").read_text())
    assert [len(f["detections"]) for f in found] == [20] * 4
    assert set(found[0]["detections"][0]) == {"box", "score", "class", "step"}
    assert sorted(p.name for p in (tmp_path / "found").glob("*.png")) == [f"{stem}.png" for stem in SCENE]
    with Image.open(tmp_path / "found/sheet_1.jpg") as page:
        assert page.width > 3 * 320
    with Image.open(tmp_path / "found/a.gif") as animation:
        assert animation.n_frames == 1 + 20
    for (width, height), one in zip([size for size, _ in SCENE.values()], found):
        assert all(0 <= d["box"][0] <= d["box"][2] <= width and d["box"][3] <= height for d in one["detections"])


def test_predict_on_a_video(trained, tmp_path, capsys, caplog):
    write_video(tmp_path / "film.avi", count=5)
    (tmp_path / "none.mp4").write_bytes(b"no video")
    command(
        "predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={tmp_path}/*.*", "threshold=0.0",
        "batch_size=2", f"output_dir={tmp_path}/found", f"hydra.run.dir={tmp_path}/hydra",
    )
    said = capsys.readouterr()
    assert "film.avi: 5 frames" in said.out and "0 pictures and 1 videos, 1 unreadable skipped" in said.out
    assert "none.mp4 is no video" in said.err + said.out + caplog.text
    (found,) = json.loads((tmp_path / "found/predictions.json").read_text())
    assert [len(frame) for frame in found["frames"]] == [20] * 5 and found["fps"] > 0
    assert (tmp_path / "found/film.mp4").stat().st_size > 1000


def test_an_interrupted_predict_keeps_what_it_found(trained, tmp_path, capsys, monkeypatch):
    write_voc(tmp_path / "data")
    drawn = []

    def interrupted_at_the_third(image, detections):
        drawn.append(image)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(image, detections)

    monkeypatch.setattr("detector.commands.predict.draw", interrupted_at_the_third)
    said = refused(
        capsys, "predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={tmp_path}/data/JPEGImages",
        f"output_dir={tmp_path}/found", f"hydra.run.dir={tmp_path}/hydra",
    )
    assert f"interrupted; what was found until then is in {tmp_path}/found" in said
    found = json.loads((tmp_path / "found/predictions.json").read_text())
    assert [re.sub(".*/", "", one["file"]) for one in found] == ["a.png", "b.png"]
    assert (tmp_path / "found/sheet_1.jpg").is_file()


def test_an_interrupted_video_keeps_what_was_found(trained, tmp_path, capsys, monkeypatch):
    write_video(tmp_path / "film.avi", count=5)
    drawn = []

    def interrupted_at_the_fourth(image, detections, **options):
        drawn.append(image)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return draw(image, detections, **options)

    monkeypatch.setattr("detector.pictures.video.draw", interrupted_at_the_fourth)
    said = refused(
        capsys, "predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={tmp_path}/film.avi", "batch_size=2",
        "threshold=0.0", f"output_dir={tmp_path}/found", f"hydra.run.dir={tmp_path}/hydra",
    )
    assert f"interrupted; what was found until then is in {tmp_path}/found" in said
    (found,) = json.loads((tmp_path / "found/predictions.json").read_text())
    assert [len(frame) for frame in found["frames"]] == [20] * 3
    assert (tmp_path / "found/film.mp4").stat().st_size > 1000


def test_predict_does_not_overwrite_what_it_reads(trained, tmp_path, capsys):
    write_video(tmp_path / "film.avi", count=2)
    said = refused(
        capsys, "predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={tmp_path}/film.avi",
        f"output_dir={tmp_path}", f"hydra.run.dir={tmp_path}/hydra",
    )
    assert "holds what is to be read, which would be overwritten" in said and not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("option, sentence", [
    ("output_dir={tmp}/film.avi", "output_dir: nothing can be written to {tmp}/film.avi ("),
    ("batch_size=0", "batch_size is 0; it must be at least 1"),
])
def test_predict_refuses_before_the_work(option, sentence, tmp_path, capsys):
    """The checkpoint, which takes longest to read, is not asked for."""
    write_video(tmp_path / "film.avi", count=2)
    said = refused(
        capsys, "predict", "checkpoint=nothing.ckpt", f"source={tmp_path}/film.avi", f"hydra.run.dir={tmp_path}/hydra",
        option.format(tmp=tmp_path),
    )
    assert sentence.format(tmp=tmp_path) in said


@pytest.mark.parametrize("files, animation, names", [
    (["1.jpg"], None, ["1"]),
    (["a/1.jpg", "a/2.jpg", "b/1.jpg"], None, ["a_1.jpg", "2", "b_1.jpg"]),
    (["1.jpg", "1.png", "2.png"], "gif", ["1.jpg", "1.png", "2"]),
    (["IMG.jpg", "a/img.jpg", "b/Img.JPG"], None, ["IMG.jpg", "a_img.jpg", "b_Img.JPG"]),
    (["IMG.jpg", "img.jpg"], None, ["IMG.jpg", "img.jpg_"]),  # one file where case does not count
    (["film.avi", "film.jpg"], "gif", ["film", "film"]),  # an MP4 and a PNG
    (["film.avi", "film.jpg"], "mp4", ["film.avi", "film.jpg"]),
    (["a/film.avi", "a/film.jpg", "b/film.mov"], None, ["a_film.avi", "film", "b_film.mov"]),
    (["1.jpg", "1.jpg.webp", "1.png"], None, ["1.jpg_", "1.jpg", "1.png"]),
    (["a/b_1.jpg", "a_b/1.jpg", "a/b/1.jpg"], None, ["b_1", "a_b_1.jpg", "a_b_1.jpg_"]),
    (["a/1.jpg", "b/1.jpg", "c/a_1.jpg.png", "d/a_1.jpg.png"], None,
     ["a_1.jpg", "b_1.jpg", "c_a_1.jpg.png", "d_a_1.jpg.png"]),
    (["predictions.json/1.png", "1.png", "sheet_1.jpg"], None, ["predictions.json_1.png", "1.png", "sheet_1"]),
])
def test_what_is_drawn_is_named_after_its_source(files, animation, names, tmp_path, monkeypatch):
    """By its stem, where that is no other's; else by the path from the common folder on."""
    monkeypatch.chdir(tmp_path)
    for folder in (Path("in"), tmp_path / "in"):
        sources = [folder / file for file in files]
        assert drawn_names(sources, animation) == dict(zip(sources, names))


def test_sources_of_equal_names_do_not_overwrite_each_other(trained, tmp_path, capsys):
    for number, file in enumerate(("a/1.jpg", "b/1.jpg", "b/1.png", "b/2.png")):
        write_image(tmp_path / "in" / file, (64, 48 + number), number)
    for folder in ("a", "b"):
        write_video(tmp_path / f"in/{folder}/film.avi", count=2)
    command(
        "predict", f"checkpoint={trained}/checkpoints/best.ckpt", f"source={tmp_path}/in/**/*.*", "animation=mp4",
        "threshold=0.9", f"output_dir={tmp_path}/found", f"hydra.run.dir={tmp_path}/hydra",
    )
    found = json.loads((tmp_path / "found/predictions.json").read_text())
    drawn = {str(Path(one["file"]).relative_to(tmp_path / "in")): one["drawn"] for one in found}
    assert drawn == {
        "a/1.jpg": "a_1.jpg.png", "b/1.jpg": "b_1.jpg.png", "b/1.png": "b_1.png.png", "b/2.png": "2.png",
        "a/film.avi": "a_film.avi.mp4", "b/film.avi": "b_film.avi.mp4",
    }
    made = {path.name for path in (tmp_path / "found").iterdir()}
    animated = {name.removesuffix(".png") + ".mp4" for name in drawn.values() if name.endswith(".png")}
    assert made == {*drawn.values(), *animated, "predictions.json", "sheet_1.jpg"}
    for number, file in enumerate(("a/1.jpg", "b/1.jpg", "b/1.png", "b/2.png")):
        with Image.open(tmp_path / "found" / drawn[file]) as picture:
            assert picture.size == (640, 480 + 10 * number)


def test_load_and_predict_from_python(trained, tmp_path):
    from detector import load

    detector = load(trained / "checkpoints/best.ckpt")
    picture = Image.effect_noise((70, 50), 90).convert("RGB")
    picture.save(tmp_path / "x.png")
    one = detector.predict(picture, threshold=0.0)
    several = detector.predict([str(tmp_path / "x.png"), tmp_path / "x.png"], threshold=0.0)
    assert len(one) == 20 and len(several) == 2 and detector.predict([]) == []
    torch.testing.assert_close(one.boxes, several[1].boxes)
    assert one.names[0] in detector.class_names and one.steps.tolist() == list(range(20))
    assert len(detector.predict(picture, threshold=0.99)) == 0
    detector.thresholds[:] = 2.0
    detector.thresholds[one.labels[0]] = one.scores[one.labels == one.labels[0]].max()
    assert set(detector.predict(picture).labels.tolist()) == {one.labels[0].item()}
