"""What a training run refuses before it starts, leaves behind, and takes up again."""

import json
import shutil
import subprocess
import sys

import lightning.pytorch.loggers.wandb as wandb_logger
import pytest
import torch
from running import SHAPES, TINY, command, refused
from scenes import ROOT, run_config, write_voc

import detector.commands.detection as detection_commands
import detector.commands.train as train_command
from detector.runs.comparison import gather, table
from detector.runs.incidental import INCIDENTAL
from detector.training.task import Task

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory):
    """The folder of a run on data of which one of four images does not open, and its command."""
    folder = tmp_path_factory.mktemp("unreadable")
    root = write_voc(folder / "Cats")
    (root / "JPEGImages/b.png").write_bytes(b"not a picture")
    words = [
        *TINY, "data=voc_folder", f"data.dataset.root={root}", "data.dataset.splits={train: all, val: all, test: all}",
        "data.canvas=[64,64]", "data.batch_size=2", f"hydra.run.dir={folder}/run",
    ]
    command("train", *words)
    return folder / "run", words


def test_a_record_counts_the_images_that_were_tested(unreadable):
    folder, _ = unreadable
    record = json.loads((folder / "record.json").read_text())
    assert record["images"] == 3 and record["untested"] == 1
    assert record["objects_per_image"] == pytest.approx(5 / 3, abs=1e-3)  # of six, one is in the image that is missing
    assert record["boxes_per_image"] == 20
    rows, left_out = gather(str(folder))
    (row,) = table(rows, baseline=None, resamples=20, seed=0)
    assert not left_out and row["AP_low"] <= row["AP_high"]


def test_a_record_names_the_data_not_the_experiment(unreadable):
    folder, _ = unreadable
    record = json.loads((folder / "record.json").read_text())
    assert record["data"] == "cats" and len(record["dataset"].pop("fingerprint")) == 16
    assert record["dataset"] == {
        "class": "VOC", "root": "Cats", "splits": {"train": "all", "val": "all", "test": "all"},
    }


def test_a_run_goes_on_wherever_its_data_lies_and_whatever_it_runs_on(unreadable):
    folder, words = unreadable
    moved = folder.parent / "moved/Cats"
    shutil.copytree(folder.parent / "Cats", moved, dirs_exist_ok=True)
    before = json.loads((folder / "record.json").read_text())
    (folder / "record.json").unlink()  # as if it had been interrupted after its last epoch
    command(
        "train", *words, "continue=true", f"data.dataset.root={moved}", "data.num_workers=1", "pictures=0",
        "trainer.accelerator=auto", f"threads={torch.get_num_threads()}",
    )
    after = json.loads((folder / "record.json").read_text())
    assert after["metrics"] == before["metrics"] and after["dataset"] == before["dataset"]


@pytest.mark.parametrize("option, named", [
    ("trainer.precision=bf16-mixed", "trainer"), ("seed=1", "seed"), ("data.canvas=[64,96]", "data"),
])
def test_a_run_of_other_options_is_not_gone_on_with(option, named, unreadable, capsys):
    _, words = unreadable
    assert f"holds a run with other options ({named})" in refused(capsys, "train", *words, "continue=true", option)


def test_a_comparison_s_directories_are_named_by_what_makes_runs_different():
    incidental = [f"{key}={'compare_bccd' if key == 'experiment' else 1}" for key in INCIDENTAL]
    ran = subprocess.run(  # in a process of its own, where nothing is imported but what the tool imports
        [sys.executable, "tools/train.py", "decoder=mlp", "seed=4", "trainer.precision=bf16-mixed", *incidental,
         "--cfg", "hydra", "--package", "hydra.job"], capture_output=True, text=True, cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr
    assert "override_dirname: decoder=mlp,seed=4,trainer.precision=bf16-mixed\n" in ran.stdout


def test_what_is_incidental_exists(tmp_path):
    config = run_config(tmp_path, "data=bccd")
    for key in INCIDENTAL:
        node = config
        for part in key.split(".") if key != "experiment" else ():
            assert part in node, key
            node = node[part]


@pytest.mark.slow
def test_what_follows_training_runs_where_that_ran(tmp_path, monkeypatch):
    """Lightning moves the network to the CPU at the end of training and of testing."""
    where, seen = ["made"], {}
    to = Task.to
    monkeypatch.setattr(Task, "cpu", lambda self: where.append("left on the CPU") or self)
    monkeypatch.setattr(Task, "to", lambda self, *args, **kwargs: where.append("back") or to(self, *args, **kwargs))

    def noting(name, function):
        def noted(*args, **kwargs):
            seen[name] = where[-1]
            return function(*args, **kwargs)
        return noted

    for module, name in (
        (detection_commands, "choose_on_val"), (train_command, "macs"), (detection_commands, "Predictor"),
    ):
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    command("train", *TINY, *SHAPES, "tune_nms=true", f"hydra.run.dir={tmp_path}")
    assert seen == dict.fromkeys(("choose_on_val", "macs", "Predictor"), "back")
    assert where.count("left on the CPU") >= 2


@pytest.mark.parametrize("options, sentence", [
    (["output_dir=FOLDER/file/below"], "file/below cannot be written to"),
    (["data.dataset.splits={train: 8, val: 4, test: 0}"], "no images to train or none to test"),
    (["data.dataset.splits={train: 0, val: 4, test: 4}"], "no images to train or none to test"),
    (["callbacks.best=null"], "best and last must be among them"),
    (["test_checkpoint=worst"], "it must be best or last"),
    (["logger=wandb"], "ModuleNotFoundError"),
])
def test_what_would_fail_at_the_end_is_refused_before_training(options, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(wandb_logger, "_WANDB_AVAILABLE", False)
    (tmp_path / "file").touch()
    options = [option.replace("FOLDER", str(tmp_path)) for option in options]
    assert sentence in refused(capsys, "train", *TINY, *SHAPES, *options, f"hydra.run.dir={tmp_path}/run")
    assert not (tmp_path / "run/checkpoints").exists()
