"""The commands as a person types them: train, eval, their help, and their complaints."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
import wandb
from PIL import Image
from running import SHAPES, TINY, command, refused
from scenes import ROOT, write_voc

from detector.checkpoint import read_checkpoint
from detector.evaluation.crowding import CROWD_SCORES

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short


def test_a_run_leaves_everything_in_its_directory(trained):
    names = {str(p.relative_to(trained)) for p in trained.rglob("*") if p.is_file()}
    assert names >= {
        "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.json", "predictions.json",
        "report.html", "analysis/mistakes.csv", "analysis/mistakes.json", "analysis/mistakes.png", "csv/metrics.csv",
        "train.json", "pictures/first_batch.png", "pictures/test_0.png", "pictures/test_3.png",
        "pictures/val_0_epoch_1.png", "training.png",
    }
    assert any("tfevents" in name for name in names)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert set(metrics) == {"decoder", "dense_nms"} and len(metrics["decoder"]["per_class"]) == 6
    header = (trained / "csv/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/class", "train/dense_giou", "val/AP", "val/loss"} <= set(header)
    assert Image.open(trained / "pictures/first_batch.png").width > 400


def test_eval_repeats_the_test_of_the_run_and_keeps_a_record(trained, tmp_path, capsys):
    command(
        "eval", f"checkpoint={trained}/checkpoints/best.ckpt", f"hydra.run.dir={tmp_path}", "accelerator=cpu",
        f"record={tmp_path}/record.json", "metric_backend=faster_coco_eval", "num_workers=0",
        f"fiftyone={tmp_path}/fiftyone",
    )
    said = capsys.readouterr().out
    assert "4 images, decoder (NMS of proposals at 0.8)" in said
    assert "dense head with NMS at 0.6: AP" in said and "circle" in said
    assert len(json.loads((tmp_path / "fiftyone/samples.json").read_text())["samples"]) == 4
    again = json.loads((tmp_path / "metrics.json").read_text())
    first = json.loads((trained / "metrics.json").read_text())
    assert again == first  # by the other backend
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["images"] == 4 and record["epochs"] == 1 and record["decoder"] == "lstm" and record["split"] == "test"
    for name in ("AP", *CROWD_SCORES):
        assert record["metrics"][name] == again["decoder"][name]
        assert record["reference"]["dense_nms"][name] == again["dense_nms"][name]
    assert "JI   Jaccard index" in said and record["command"].startswith("python ")
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert {"image_id", "category_id", "bbox", "score"} == set(results[0]) and len(results) == 4 * 20
    chosen = read_checkpoint(trained / "checkpoints/best.ckpt")["run"]["thresholds"]
    for folder in (trained, tmp_path):  # the analysis, too, with the scores chosen on val
        kept = json.loads((folder / "analysis/thresholds.json").read_text())
        assert [row["threshold"] for row in kept] == pytest.approx(chosen) and len(chosen) == 6


@pytest.mark.parametrize("data", [
    ["data=voc_folder", "data.dataset.root=FOLDER", "data.dataset.splits={test: all}"],
    ["data=voc_folder", "root=FOLDER", "data.dataset.splits={test: all}"],
    ["data=voc07_crowd", "root=FOLDER"],
])
def test_eval_on_other_data(data, trained, tmp_path, capsys):
    names = ["circle", "square"]
    scene = {stem: ((80, 60), [(names[0], 10, 5, 40, 30), (names[1], 42, 12, 70, 55)]) for stem in "abc"}
    lists = write_voc(tmp_path / "data", scene, one_based=True) / "ImageSets/Main"
    (lists / "trainval.txt").write_text("a\nb\n")
    (lists / "test.txt").write_text("c\n")
    command(
        "eval", f"checkpoint={trained}/checkpoints/last.ckpt", f"hydra.run.dir={tmp_path}", "accelerator=cpu",
        "num_workers=0", *(word.replace("FOLDER", f"{tmp_path}/data") for word in data),
    )
    assert "3 images, decoder" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("options, suppression", [
    (["decoder=dense"], "NMS at 0.6"), (["decoder=dense", "decoder.soft_sigma=0.5"], "soft-NMS, sigma 0.5"),
    (["decoder=lstm_grid"], "no NMS"),
])
def test_what_suppresses_boxes_is_said(options, suppression, tmp_path, capsys):
    tiny = [word for word in TINY if not word.startswith("decoder.")]
    command("train", *tiny, *SHAPES, *options, "pictures=0", f"hydra.run.dir={tmp_path}/run")
    assert f"4 images, decoder ({suppression})" in capsys.readouterr().out
    command(
        "eval", f"checkpoint={tmp_path}/run/checkpoints/last.ckpt", "accelerator=cpu", "nms_threshold=0.3",
        f"hydra.run.dir={tmp_path}/eval",
    )
    said = suppression.replace("0.6", "0.3")
    assert f"4 images, decoder ({said})" in capsys.readouterr().out
    assert f"<th>decoder, {said}</th><th>dense head, NMS at 0.3</th>" in (tmp_path / "eval/report.html").read_text()


@pytest.mark.slow
def test_where_runs_and_sweeps_go(tmp_path, monkeypatch):
    """Without a directory being given: below outputs/, by experiment and time; of a sweep, a directory a job."""
    monkeypatch.chdir(tmp_path)
    command("train", "-m", *TINY, *SHAPES, "decoder.hidden_size=16,32", "pictures=0")
    command("train", *TINY, *SHAPES, "pictures=0")
    made = sorted(str(p.parent.relative_to(tmp_path)) for p in tmp_path.rglob("metrics.json"))
    moment = r"outputs/shapes/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
    assert len(made) == 3 and all(map(re.fullmatch, (f"{moment}/0", f"{moment}/1", moment), made))


@pytest.mark.slow
def test_a_comparison_goes_on_where_it_stopped(tmp_path, capsys):
    tiny = [word for word in TINY if not word.startswith("decoder.")]
    arguments = [*tiny, "hidden_size=32", "slots=20", *SHAPES, "data.dataset.objects=[2,5]"]
    sweep = ["-m", "experiment=compare_shapes", *arguments, "decoder=mlp,dense", "seed=0,1"]
    sweep += [f"hydra.sweep.dir={tmp_path}"]
    command("train", *sweep)
    folders = sorted(p.parent for p in tmp_path.rglob("record.json"))
    assert len(folders) == 4 and all(f"decoder={d}" in str(folders) for d in ("mlp", "dense"))
    first = {folder: (folder / "record.json").stat().st_mtime_ns for folder in folders}
    stopped = next(folder for folder in folders if "decoder=mlp" in folder.name and "seed=1" in folder.name)
    (stopped / "record.json").unlink()  # as if it had been interrupted after its last epoch
    command("train", *sweep)
    second = {folder: (folder / "record.json").stat().st_mtime_ns for folder in folders}
    assert [folder for folder in folders if first[folder] != second[folder]] == [stopped]
    assert json.loads((stopped / "record.json").read_text())["epochs"] == 1
    command("compare", f"runs={tmp_path}", "baseline=mlp", "resamples=20", "rounds=1")
    said = capsys.readouterr().out
    assert "| dense | 2 |" in said and "comparison.md, comparison.csv" in said
    assert (tmp_path / "comparison.md").read_text().strip() in said and (tmp_path / "cost.png").exists()
    assert not list(tmp_path.glob("*.log"))
    table = tmp_path / "table"
    for finished in (4, 3):  # records and plots of a table made there before do not stay
        command("compare", f"runs={tmp_path}", f"output_dir={table}", "resamples=0", "rounds=0")
        assert len(list((table / "records").iterdir())) == finished and not (table / "crowding.png").exists()
        (table / "crowding.png").touch()
        (stopped / "record.json").unlink(missing_ok=True)
    assert f"{stopped} has no record.json" in capsys.readouterr().out


@pytest.mark.parametrize("tool, words", [
    ("train", ["experiment=bccd", "voc", "lstm_pointer", "-m"]),
    ("eval", ["checkpoint=PATH", "record="]),
    ("predict", ["source=FOLDER", "threshold"]),
    ("compare", ["runs=outputs/compare_bccd", "baseline"]),
])
def test_help_is_told_without_loading_pytorch(tool, words):
    script = f"import sys, runpy; sys.argv = ['tools/{tool}.py', '--help']\n" \
             f"try: runpy.run_path('tools/{tool}.py', run_name='__main__')\n" \
             "except SystemExit: pass\nassert 'torch' not in sys.modules"
    started = time.time()
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert all(word in ran.stdout for word in words)
    assert time.time() - started < 60


@pytest.mark.parametrize("arguments, sentence", [
    (["experiment=vok"], "Could not find 'experiment/vok'"),
    (["experiment=bccd", "data.dataset.root=/nowhere"], "no data folder /nowhere; run `python data/bccd/prepare.py`"),
    (["experiment=crowd", "data.dataset.root=/nowhere"], "to frames and boxes as data/mot15_people/README.md tells"),
    (["data.dataset.crowding=7"], "crowding is 7; it must lie between"),
    (["~data.dataset.splits.val"], "no split 'val'; there are train"),
    (["checkpoint=nothing.ckpt"], "no checkpoint nothing.ckpt; found"),
    (["backbone.frozen_stages=9"], "frozen_stages is 9; it must be 0"),
    (["data.dataset.on_bad_sample=never"], "on_bad_sample is 'never'; it must be skip or raise"),
    (["test_checkpoint=worst"], "test_checkpoint is 'worst'; it must be best or last"),
    (["metric_backend=lvis"], "there are pycocotools, faster_coco_eval"),
])
def test_what_a_person_can_mend_is_one_sentence(arguments, sentence, tmp_path, capsys):
    assert sentence in refused(capsys, "train", *TINY, *SHAPES, *arguments, f"hydra.run.dir={tmp_path}")


@pytest.mark.parametrize("tool, arguments, sentence", [
    ("eval", [], "checkpoint"),
    ("eval", ["checkpoint=nothing.ckpt"], "no checkpoint nothing.ckpt"),
    ("predict", ["checkpoint=nothing.ckpt", "source=nowhere"], "no pictures or videos at 'nowhere'"),
    ("compare", ["runs=nowhere"], "no finished runs under 'nowhere'; give a folder"),
])
def test_eval_and_predict_complain_too(tool, arguments, sentence, tmp_path, capsys):
    assert sentence in refused(capsys, tool, *arguments, f"hydra.run.dir={tmp_path}")


@pytest.mark.slow
def test_a_run_without_validation_is_tested_too(tmp_path):
    arguments = [word for word in TINY if "check_val" not in word]
    command("train", *arguments, *SHAPES, "trainer.check_val_every_n_epoch=5", f"hydra.run.dir={tmp_path}")
    assert (tmp_path / "metrics.json").exists() and not (tmp_path / "checkpoints/best.ckpt").exists()


def test_eval_names_the_splits_there_are(trained, tmp_path, capsys):
    said = refused(
        capsys, "eval", f"checkpoint={trained}/checkpoints/best.ckpt", "split=tset", f"hydra.run.dir={tmp_path}"
    )
    assert "no split 'tset'; there are train, val, test" in said


def test_the_environment_is_ignored_by_git():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    ran = subprocess.run(
        ["git", "check-ignore", ".venv/", "outputs/", "data/voc/VOCdevkit"], capture_output=True, text=True, cwd=ROOT,
        env=os.environ,
    )
    assert len(ran.stdout.split()) == 3


@pytest.mark.slow
def test_resuming_from_a_checkpoint(trained, tmp_path, capsys):
    last = trained / "checkpoints/last.ckpt"
    command(
        "train", *TINY, *SHAPES, "trainer.max_epochs=2", f"checkpoint={last}", "pictures=0", f"hydra.run.dir={tmp_path}"
    )
    assert json.loads((tmp_path / "train.json").read_text())["epochs"] == 2
    again = tmp_path / "again"  # nothing is left to train, and nothing to validate: it is tested
    command("train", *TINY, *SHAPES, f"checkpoint={last}", "pictures=0", f"hydra.run.dir={again}")
    assert json.loads((again / "metrics.json").read_text()) == json.loads((trained / "metrics.json").read_text())
    wrong = refused(
        capsys, "train", *TINY, *SHAPES, "decoder.hidden_size=16", f"checkpoint={last}", f"hydra.run.dir={tmp_path}/x"
    )
    assert "the checkpoint does not fit" in wrong


@pytest.mark.parametrize("options, left", [
    (["logger=wandb", "logger.wandb.offline=true"], "wandb/offline-run-*/run-*.wandb"),
    (["logger=mlflow"], "mlflow.db"),
], ids=["wandb", "mlflow"])
@pytest.mark.slow
def test_loggers_without_a_network(options, left, tmp_path):
    command("train", *TINY, *SHAPES, "pictures=0", *options, f"hydra.run.dir={tmp_path}")
    wandb.teardown()  # its own process writes the file, and is done only when it ends, as it does with the command
    (file,) = tmp_path.glob(left)
    assert file.stat().st_size > 500 and (tmp_path / "csv/metrics.csv").exists()
    assert not (tmp_path / "tensorboard").exists()
    if left == "mlflow.db":
        with sqlite3.connect(file) as database:
            kept = dict(database.execute("select key, value from latest_metrics"))
        assert {"train/class", "val/AP", "test/AP"} <= set(kept)


@pytest.mark.parametrize("option, sentence", [
    ("decoder.slots=0", "decoder.slots is 0; it must be at least 1"),
    ("decoder.layers=0", "decoder.layers is 0; it must be at least 1"),
    ("decoder.points=-1", "decoder.points is -1; it must be at least 1"),
    ("neck.width=100", "neck.width is 100; it must be a multiple of 8"),
    ("proposals.nms_threshold=2", "proposals.nms_threshold is 2; it must lie between 0 and 1"),
])
def test_sizes_that_no_network_can_have(option, sentence, tmp_path, capsys):
    assert sentence in refused(capsys, "train", *TINY, *SHAPES, option, f"hydra.run.dir={tmp_path}")


def never(*arguments, **options):
    raise AssertionError("the work has begun")


@pytest.mark.parametrize("kept, options, sentence", [
    (None, ["record={tmp}/new.json"], "{tmp}/run/train.json, which record= needs, cannot be used ([Errno 2] No such"),
    ("{", ["record={tmp}/new.json"], "run/train.json, which record= needs, cannot be used (Expecting property name"),
    ('{"epochs": 1}', ["record={tmp}/new.json"], "cannot be used (it lacks checkpoint, command, commit, machine"),
    ("all", ["record={tmp}/run"], "record={tmp}/run is a folder; give a file"),
    ("all", ["record={tmp}/file/new.json"], "record: nothing can be written to {tmp}/file ("),
    ("all", ["output_dir={tmp}/file/new"], "output_dir: nothing can be written to {tmp}/file/new ("),
    ("all", ["fiftyone={tmp}/file/new"], "fiftyone: nothing can be written to {tmp}/file/new ("),
    ("all", ["fiftyone={tmp}/file"], "{tmp}/file exists and is not an empty folder"),
    ("all", ["fiftyone={tmp}/new", "output_dir={tmp}/new"], "fiftyone and output_dir are both {tmp}/new"),
    ("all", ["fiftyone={tmp}/new", "output_dir={tmp}/new/below"], "{tmp}/new exists and is not an empty folder"),
    ("all", ["fiftyone={tmp}/new", "record={tmp}/new/a/b.json"], "{tmp}/new exists and is not an empty folder"),
])
def test_eval_refuses_before_the_test(kept, options, sentence, trained, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/checkpoints/best.ckpt").symlink_to(trained / "checkpoints/best.ckpt")
    if kept:
        (tmp_path / "run/train.json").write_text((trained / "train.json").read_text() if kept == "all" else kept)
    monkeypatch.setattr("detector.commands.evaluate.test", never)
    said = refused(
        capsys, "eval", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", f"hydra.run.dir={tmp_path}/hydra",
        "accelerator=cpu", "num_workers=0", *(option.format(tmp=tmp_path) for option in options),
    )
    assert sentence.format(tmp=tmp_path) in said


@pytest.mark.parametrize("options, sentence", [
    (["output_dir=/proc"], "output_dir: nothing can be written to /proc ("),
    (["output_dir={tmp}/new"], "no checkpoint {tmp}/runs/one/checkpoints/best.ckpt"),
])
def test_compare_refuses_before_the_work(options, sentence, trained, tmp_path, capsys, monkeypatch):
    if not os.path.isdir("/proc"):
        pytest.skip("no folder that nobody can write to")
    run = tmp_path / "runs/one"
    run.mkdir(parents=True)
    for name in ("record.json", "matches_decoder.npz"):
        shutil.copyfile(trained / name, run / name)
    monkeypatch.setattr("detector.commands.compare.table", never)
    said = refused(capsys, "compare", f"runs={tmp_path}/runs", *(option.format(tmp=tmp_path) for option in options))
    assert sentence.format(tmp=tmp_path) in said
