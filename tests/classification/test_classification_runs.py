"""The four commands with a classifier, as a person types them, and what they refuse."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from running import DIGITS, command, refused
from scenes import run_config, write_folder, write_image, write_video

from detector import load
from detector.build import instantiate
from detector.checkpoint import read_checkpoint
from detector.classification.build import build_datamodule, build_task
from detector.classification.evaluation.answers import Answers
from detector.classification.named import Named
from detector.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short


def best(folder) -> str:
    return f"{folder}/checkpoints/best.ckpt"


def test_a_run_leaves_everything_in_its_directory(named):
    names = {str(p.relative_to(named)) for p in named.rglob("*") if p.is_file()}
    assert names >= {
        "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.json", "predictions.json",
        "report.html", "analysis/classes.csv", "analysis/confusion.png", "analysis/steps.json", "answers.npz",
        "csv/metrics.csv", "train.json", "record.json", "pictures/first_batch.png", "training.png",
    }
    assert len([name for name in names if name.startswith("pictures/test_")]) == 2
    record = json.loads((named / "record.json").read_text())
    answers = Answers.load(named / "answers.npz")
    assert record["task"] == "classification" and record["model"] == "row_lstm" and record["reads"] == "rows"
    assert record["images"] == len(answers.labels) and record["steps"] == answers.beliefs.shape[1] == 8
    assert record["metrics"]["accuracy"] == pytest.approx(float(answers.accuracy()[0]), abs=1e-5)
    assert record["parameters"] == 4 * 16 * (8 + 16) + 2 * 4 * 16 + 16 * 10 + 10
    kept = read_checkpoint(best(named))["run"]["config"].keys()
    assert not {"decoder", "nms_threshold", "train_only", "slots"} & kept


def test_eval_repeats_the_test_of_the_run_and_keeps_a_record(named, tmp_path, capsys):
    record = tmp_path / "record.json"
    command("eval", f"checkpoint={best(named)}", f"hydra.run.dir={tmp_path}", "accelerator=cpu", f"record={record}")
    assert re.search(r"\d+ images, accuracy 0\.\d+ \(0\.\d+ to ", capsys.readouterr().out)
    own, again = (json.loads((folder / "metrics.json").read_text()) for folder in (named, tmp_path))
    assert own == again
    kept, of_run = json.loads(record.read_text()), json.loads((named / "record.json").read_text())
    assert kept == of_run


def test_eval_on_another_split_and_on_other_data(named, tmp_path):
    command("eval", f"checkpoint={best(named)}", f"hydra.run.dir={tmp_path}/val", "accelerator=cpu", "split=val")
    val = Answers.load(tmp_path / "val/answers.npz")
    assert not set(val.image_ids) & set(Answers.load(named / "answers.npz").image_ids)
    write_folder(tmp_path / "data", {str(number): 2 for number in range(10)})
    command(
        "eval", f"checkpoint={best(named)}", f"hydra.run.dir={tmp_path}/folder", "accelerator=cpu", "num_workers=0",
        "data=classification/image_folder", f"root={tmp_path}/data", "data.dataset.splits={test: [0, 1]}",
    )
    assert len(Answers.load(tmp_path / "folder/answers.npz").labels) == 20


@pytest.mark.parametrize("animation", [None, "gif"])
def test_predict_draws_what_is_believed_as_it_reads(animation, named, tmp_path, capsys, caplog):
    write_image(tmp_path / "in/digit.png", (30, 40))
    (tmp_path / "in/broken.jpg").write_bytes(b"no picture")
    command(
        "predict", f"checkpoint={best(named)}", f"source={tmp_path}/in", f"output_dir={tmp_path}/out",
        f"hydra.run.dir={tmp_path}/hydra", *([f"animation={animation}"] if animation else []),
    )
    said = capsys.readouterr()
    assert "1 pictures, 1 unreadable skipped" in said.out and "broken.jpg" in said.out + said.err + caplog.text
    (found,) = json.loads((tmp_path / "out/predictions.json").read_text())
    assert found["name"] == next(iter(found["probabilities"])) and len(found["probabilities"]) == 10
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-2)
    assert Image.open(tmp_path / "out/digit.png").width > 400
    if animation == "gif":
        with Image.open(tmp_path / "out/digit.gif") as moving:
            assert moving.n_frames == 1 + 8
    assert (tmp_path / f"out/digit.{animation}").exists() == bool(animation)


def test_from_python(named, tmp_path):
    write_image(tmp_path / "digit.png", (8, 8))
    pixels = np.asarray(Image.open(tmp_path / "digit.png"))
    namer = load(best(named))
    one = namer.predict(tmp_path / "digit.png")
    assert isinstance(one, Named) and one.names == [str(number) for number in range(10)]
    assert one.beliefs.shape == (8, 10) and one.probabilities.sum() == pytest.approx(1)
    assert one.name == max(one.by_name(), key=one.by_name().get) and one.probability == one.probabilities.max()
    for other in namer.predict([str(tmp_path / "digit.png"), pixels, Image.fromarray(pixels)]):
        torch.testing.assert_close(other.beliefs, one.beliefs)
    assert namer.predict([]) == []
    torch.testing.assert_close(namer.predict(pixels[..., 0]).beliefs, namer.predict(pixels[..., [0, 0, 0]]).beliefs)


@pytest.mark.parametrize("picture", [
    np.zeros((8, 8)), np.zeros((8, 8, 3), dtype=np.float32), np.zeros((3, 8, 8), dtype=np.uint8), np.zeros(4, np.uint8),
])
def test_arrays_that_are_no_pictures_are_refused_in_a_sentence(picture, named, trained):
    for folder in (named, trained):
        with pytest.raises(InputError, match="is no picture; give a file, a PIL image, or a NumPy array of bytes"):
            load(best(folder)).predict(picture)


def test_predict_agrees_with_the_test(named, tmp_path):
    """A test image written to a file is answered as it was in the test."""
    data = build_datamodule(run_config(tmp_path, *DIGITS))
    answers = Answers.load(named / "answers.npz")
    namer = load(best(named))
    for index, record in enumerate(data.test.records[:4]):
        Image.fromarray(data.test.read(record)).save(tmp_path / "digit.png")
        torch.testing.assert_close(
            namer.predict(tmp_path / "digit.png").beliefs.double(), torch.from_numpy(answers.beliefs[index]),
            rtol=0, atol=1e-5,
        )


def test_compare(named, tmp_path, capsys):
    for model, seed in (("row_lstm", 0), ("row_lstm", 1), ("row_mlp", 0)):
        folder = tmp_path / f"runs/{model}_{seed}"
        shutil.copytree(named, folder)
        record = json.loads((folder / "record.json").read_text())
        record |= {"options": [f"model={model}", f"seed={seed}"], "seed": seed}
        (folder / "record.json").write_text(json.dumps(record))
    options = ["baseline=row_mlp", "resamples=50", "rounds=1", f"output_dir={tmp_path}/out"]
    command("compare", f"runs={tmp_path}/runs", *options)
    said = capsys.readouterr().out
    table = (tmp_path / "out/comparison.md").read_text()
    assert table.startswith("| run | seeds | accuracy (95 %) | ± seeds | macro accuracy | − baseline (95 %) | p |")
    assert "parameters, thousands" in table and "row_lstm | 2 |" in table and table.strip() in said
    assert (tmp_path / "out/comparison.csv").exists() and len(list((tmp_path / "out/records").glob("*.json"))) == 3


def test_a_sweep_over_models(tmp_path):
    command("train", "-m", *DIGITS, "model=row_lstm,row_gru,row_mlp", f"hydra.sweep.dir={tmp_path}")
    records = [json.loads(file.read_text()) for file in tmp_path.glob("*/record.json")]
    assert sorted(record["model"] for record in records) == ["row_gru", "row_lstm", "row_mlp"]
    sizes = {record["model"]: record["parameters"] for record in records}
    assert max(sizes.values()) <= 1.05 * sizes["row_lstm"] and min(sizes.values()) >= 0.95 * sizes["row_lstm"]


def fit(folder, epochs: int, checkpoint=None):
    run = run_config(folder, *DIGITS, "model.dropout=0.3", f"trainer.max_epochs={epochs}")
    torch.manual_seed(0)
    data = build_datamodule(run)
    task = build_task(run, data.class_names)
    task.make_schedule = lambda optimizer, total_steps: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)  # no end
    callbacks = [instantiate(one) for name, one in run["callbacks"].items() if one and name != "learning_rate"]
    trainer = instantiate(run["trainer"], callbacks=callbacks, logger=False)
    trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return folder / "checkpoints/last.ckpt"


def test_resuming_ends_with_the_weights_of_an_uninterrupted_run(tmp_path):
    straight = fit(tmp_path / "straight", 3)
    resumed = fit(tmp_path / "second", 3, checkpoint=fit(tmp_path / "first", 1))
    a, b = read_checkpoint(straight), read_checkpoint(resumed)
    for state in ("state_dict", "current_model_state"):
        for name in a[state]:
            assert torch.equal(a[state][name], b[state][name]), f"{state}: {name}"


def test_training_goes_on_from_a_checkpoint_and_starts_from_one(named, tmp_path):
    more = [option for option in DIGITS if "max_epochs" not in option]
    command("train", *more, "trainer.max_epochs=3", f"checkpoint={named}/checkpoints/last.ckpt",
            f"hydra.run.dir={tmp_path}/resumed")
    assert json.loads((tmp_path / "resumed/train.json").read_text())["epochs"] == 3
    command("train", *DIGITS, f"initial={best(named)}", f"hydra.run.dir={tmp_path}/started")
    initial = json.loads((tmp_path / "started/record.json").read_text())["initial"]
    command("train", *more, "trainer.max_epochs=3", f"checkpoint={tmp_path}/started/checkpoints/last.ckpt",
            f"hydra.run.dir={tmp_path}/went_on")
    assert initial and json.loads((tmp_path / "went_on/record.json").read_text())["initial"] == initial


def test_continue_leaves_a_finished_run_and_goes_on_with_an_interrupted_one(tmp_path, capsys):
    options = [*DIGITS, "continue=true", f"hydra.run.dir={tmp_path}"]
    command("train", *options)
    before = (tmp_path / "record.json").read_text()
    command("train", *options)
    assert (tmp_path / "record.json").read_text() == before
    (tmp_path / "record.json").unlink()
    command("train", *options)
    again = json.loads((tmp_path / "record.json").read_text())
    assert again["metrics"] == json.loads(before)["metrics"] and again["epochs"] == 2
    assert "holds a run with other options (model)" in refused(capsys, "train", *options, "model.hidden_size=8")


def test_a_run_too_short_to_be_validated_tests_its_last_weights(tmp_path):
    command("train", *DIGITS, "trainer.check_val_every_n_epoch=5", "test_checkpoint=best", f"hydra.run.dir={tmp_path}")
    assert json.loads((tmp_path / "record.json").read_text())["checkpoint"] == "last.ckpt"


def test_early_stopping_and_a_class_named_like_a_formula(tmp_path):
    write_folder(tmp_path / "data", {"$5_$": 10, "cat": 10})
    command(
        "train", "experiment=image_folder", f"data.dataset.root={tmp_path}/data", "reads=spiral", "preprocessing=grey",
        "data.canvas=[8,8]", "data.num_workers=0", "callbacks=early_stopping", "trainer.max_epochs=1", "pictures=1",
        "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}/run",
    )
    assert json.loads((tmp_path / "run/record.json").read_text())["steps"] == 16


def test_rows_of_different_images_are_compared_without_times(named, tmp_path, capsys):
    command("train", *DIGITS, "preprocessing=rgb", f"hydra.run.dir={tmp_path}/runs/rgb")
    shutil.copytree(named, tmp_path / "runs/grey")
    command("compare", f"runs={tmp_path}/runs", "resamples=10", f"output_dir={tmp_path}/out")
    assert "none is timed" in "".join(capsys.readouterr())
    assert "| rgb |" in (tmp_path / "out/comparison.md").read_text()


def test_overfitting(tmp_path):
    """A few digits are learnt by heart."""
    part = "data.dataset.splits={train: [0, 0.02], val: [0, 0.02], test: [0, 0.02]}"
    command("train", *DIGITS[:1], part, "trainer.max_epochs=100", "trainer.check_val_every_n_epoch=100", "pictures=0",
            "trainer.accelerator=cpu", "augmentation=classification/none", f"hydra.run.dir={tmp_path}")
    assert json.loads((tmp_path / "record.json").read_text())["metrics"]["accuracy"] == 1.0


@pytest.mark.parametrize("tool, arguments, words", [
    ("train", ["experiment=digits", "checkpoint=DETECTOR"], "is a detector, digits is classification"),
    ("train", ["experiment=digits", "initial=DETECTOR"], "is a detector, digits is classification"),
    ("train", ["experiment=shapes", "checkpoint=NAMER"], "is of a classifier, where a detector is due"),
    ("train", ["experiment=shapes", "initial=NAMER"], "is of a classifier, where a detector is due"),
    ("train", ["experiment=shapes", "initial=NAMER", "train_only=decoder"], "is of a classifier, where a detector"),
    ("train", ["experiment=digits", "decoder=lstm"], "decoder=lstm is of detection and does nothing in digits"),
    ("train", ["experiment=digits", "nms_threshold=0.5"], "nms_threshold=0.5 is of detection"),
    ("train", ["experiment=digits", "hidden_size=20"], "(model.hidden_size is the classifier's); leave it out"),
    ("train", ["experiment=digits", "augmentation=light"], "augmentation is one of detection"),
    ("train", ["model=row_lstm", "data=classification/digits"], "give one of its experiments too"),
    ("train", ["experiment=digits", "model.dropout=1.5"], "model.dropout is 1.5; it must be from 0 to below 1"),
    ("train", ["experiment=digits", "data.batch_size=0"], "data.batch_size is 0; it must be at least 1"),
    ("train", ["experiment=digits", "backbone=resnet18"], "backbone=resnet18 does nothing without a CNN"),
    ("train", ["experiment=digits", "loss=varifocal"], "loss is one of detection"),
    ("train", ["experiment=digits", "data=shapes"], "data=shapes is of detection"),
    ("train", ["model=row_gru"], "row_gru is of the classification task; give one of its experiments"),
    ("train", ["reads=rows"], "reads=rows is of the classification task"),
    ("train", ["data=classification/digits"], "is of the classification task"),
    ("train", ["experiment=digits", "initial=NAMER", "reads=columns", "model.hidden_size=24"], "does not fit"),
    ("eval", ["checkpoint=NAMER", "suppression=true"], "suppression is for detectors"),
    ("eval", ["checkpoint=NAMER", "nms_threshold=0.5"], "nms_threshold is for detectors"),
    ("eval", ["checkpoint=NAMER", "data=shapes"], "is a classifier, the data is of detection"),
    ("eval", ["checkpoint=DETECTOR", "data=classification/digits"], "is a detector, the data is of classification"),
    ("predict", ["checkpoint=NAMER", "source=PICTURE", "threshold=0.5"], "threshold is for detectors"),
    ("predict", ["checkpoint=NAMER", "source=VIDEO"], "is a video, the checkpoint is a classifier"),
])
def test_what_is_of_the_other_task_is_refused_in_a_sentence(tool, arguments, words, named, trained, tmp_path, capsys):
    write_image(tmp_path / "picture.png", (8, 8))
    write_video(tmp_path / "film.avi", 2)
    for name, value in {
        "DETECTOR": best(trained), "NAMER": best(named), "PICTURE": tmp_path / "picture.png",
        "VIDEO": tmp_path / "film.avi",
    }.items():
        arguments = [argument.replace(name, str(value)) for argument in arguments]
    said = refused(capsys, tool, *arguments, f"hydra.run.dir={tmp_path}/run")
    assert words in said and said.count("\n") == 1


def test_runs_of_both_tasks_are_not_compared(named, trained, tmp_path, capsys):
    for folder in (named, trained):
        shutil.copytree(folder, tmp_path / "runs" / folder.name)
    said = refused(capsys, "compare", f"runs={tmp_path}/runs", "rounds=0")
    assert "is of a detector" in said and "compare runs of one task" in said


@pytest.mark.parametrize("config, words", [
    ({"reads": {"_target_": "os.system"}}, "names 'os.system'"),
    ({"preprocessing": {"transforms": [{"_target_": "subprocess.Popen"}]}}, "names 'subprocess.Popen'"),
    ({"preprocessing": {"transforms": [
        {"_target_": "detector.classification.data.torchvision_images.TorchvisionImages", "root": "anywhere"},
    ]}}, "TorchvisionImages"),
    ({"preprocessing": {"transforms": [{"_target_": "albumentations.core.utils.get_shape"}]}}, "get_shape"),
    ({"model": {"_target_": "detector.classification.build.build_task"}}, "build_task"),
])
def test_no_code_of_a_checkpoint_is_run(config, words, named, tmp_path):
    checkpoint = read_checkpoint(best(named))
    checkpoint["run"]["config"] |= config
    torch.save(checkpoint, tmp_path / "bad.ckpt")
    with pytest.raises(Exception, match=re.escape(words)):
        load(tmp_path / "bad.ckpt")
