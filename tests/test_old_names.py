"""Checkpoints, runs and options of earlier versions."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from running import SHAPES, TINY, command, refused
from scenes import OFFLINE, run_config

from detector import load
from detector.build import build_detector
from detector.checkpoint import read_checkpoint
from detector.errors import InputError
from detector.old_names import FORMAT, LAST_COMMIT, MODULES, modernise, modernised, refuse_composed, refuse_typed

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short

BEFORE = json.loads(Path(__file__).with_name("before_the_renaming.json").read_text())
"""Of each decoder, part of its config and the names and shapes of its parameters, written by commit 9858abf."""


def old_config(decoder: str, folder) -> dict:
    config = run_config(folder, f"decoder={decoder}", "neck.width=16", "hidden_size=16", "slots=10", *OFFLINE)
    return {**config, **copy.deepcopy(BEFORE[decoder]["config"])}


def aged(file: Path, new_file: Path, **decoder) -> Path:
    """A checkpoint as the last version before the renaming wrote it, with further options of its decoder."""
    checkpoint = torch.load(file, weights_only=True)
    for key in ("state_dict", "current_model_state"):
        for name in list(checkpoint[key]):
            old_name = name
            for old, new in MODULES.items():
                old_name = old_name.replace(new, old) if ".decoder." in name else old_name
            checkpoint[key][old_name] = checkpoint[key].pop(name)
    config = checkpoint["run"]["config"]
    config["decoder"] |= {"passes": config["decoder"].pop("stages"), "coverage": False, "writes": 1, "groups": 1,
                          "denoising": 0, "bidirectional": False, "order": "score", **decoder}
    config["loss"]["set"] |= {"near_iou": config["loss"]["set"].pop("positive_iou"), "monotone_weight": 0.0}
    config["schedule"]["_target_"] = "detector.schedules.one_cycle"
    del checkpoint["run"]["format"]
    torch.save(checkpoint, new_file)
    return new_file


@pytest.mark.parametrize("decoder", BEFORE)
def test_what_the_last_version_before_wrote_fits_today(decoder, tmp_path):
    parameters = {name: torch.zeros(shape) for name, shape in BEFORE[decoder]["parameters"].items()}
    checkpoint = {"run": {"config": old_config(decoder, tmp_path)}, "state_dict": parameters}
    modernise(checkpoint)
    detector = build_detector(checkpoint["run"]["config"], num_classes=2)
    today = {f"detector.{name}": value.shape for name, value in detector.state_dict().items() if "decoder." in name}
    assert {name: value.shape for name, value in checkpoint["state_dict"].items()} == today
    new = run_config(tmp_path, f"decoder={decoder}", "neck.width=16", "hidden_size=16", "slots=10", *OFFLINE)
    missing = {"feedback": False} if decoder == "transformer" else {}  # which it could not have
    assert {**checkpoint["run"]["config"]["decoder"], **missing} == new["decoder"]
    for group in ("loss", "schedule"):
        assert checkpoint["run"]["config"][group] == new[group]
    targets = {name: one["_target_"] for name, one in checkpoint["run"]["config"]["callbacks"].items()}
    assert targets == {name: one["_target_"] for name, one in new["callbacks"].items()}


@pytest.mark.slow
def test_a_checkpoint_of_an_earlier_version_is_used_as_one_of_today(trained, tmp_path):
    new = trained / "checkpoints/last.ckpt"
    old = aged(new, tmp_path / "old.ckpt")
    names = torch.load(old, weights_only=True)["state_dict"]
    assert any(".decoder.passes.0.reading." in name for name in names) and not any(".stages." in name for name in names)
    picture = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    ours, theirs = load(new).predict(picture, threshold=0.0), load(old).predict(picture, threshold=0.0)
    assert torch.equal(ours.boxes, theirs.boxes) and torch.equal(ours.scores, theirs.scores)
    assert read_checkpoint(old)["run"]["config"]["decoder"] == read_checkpoint(new)["run"]["config"]["decoder"]
    command("train", *TINY, *SHAPES, "trainer.max_epochs=2", f"checkpoint={old}", f"hydra.run.dir={tmp_path / 'on'}")
    assert (tmp_path / "on/record.json").exists()


def test_a_run_of_an_earlier_version_is_gone_on_with_wherever_it_lies(trained, tmp_path, capsys):
    folder = tmp_path / "moved"
    shutil.copytree(trained, folder)
    options = [*TINY, *SHAPES, f"hydra.run.dir={folder}", "continue=true"]
    command("train", *options)
    assert "is finished already" in capsys.readouterr().out
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(str(trained), "out"))  # which other words end in
    command("train", *options)
    assert "dropout" in text and "is finished already" in capsys.readouterr().out
    config = yaml.safe_load(text)
    config["decoder"] |= {"passes": config["decoder"].pop("stages"), "coverage": False}
    config["schedule"]["_target_"] = "detector.schedules.one_cycle"
    config = {key: config[key] for key in config.keys() - {"initial", "new_decoder", "train_only", "cache"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command("train", *options)
    assert "is finished already" in capsys.readouterr().out
    assert "holds a run with other options (decoder)" in refused(capsys, "train", *options, "decoder.layers=2")


@pytest.mark.parametrize("options, named", [
    ({"coverage": True}, "decoder.coverage=True"), ({"writes": 2}, "decoder.writes=2"),
    ({"groups": 2}, "decoder.groups=2"), ({"order": "random"}, "decoder.order=random"),
])
def test_options_that_are_gone_are_refused_where_they_did_something(options, named, trained, tmp_path):
    old = aged(trained / "checkpoints/last.ckpt", tmp_path / "old.ckpt", **options)
    with pytest.raises(InputError, match=f"old.ckpt was trained with {named}, which is gone; commit {LAST_COMMIT} is"):
        load(old)


@pytest.mark.slow
def test_somebody_s_own_decoder_may_use_what_names_it_likes(tmp_path, monkeypatch):
    """It trains, and its checkpoint is read back at the end."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package/mine.py").write_text(
        "from torch import nn\nfrom detector.decoders.lstm import LSTM\n"
        "class Mine(LSTM):\n"
        "    def __init__(self, *, order, passes, **options):\n"
        "        super().__init__(stages=passes, **options)\n"
        "        self.memory = nn.Linear(2, 2).requires_grad_(False)\n"
    )
    (tmp_path / "conf/decoder").mkdir(parents=True)
    (tmp_path / "conf/decoder/mine.yaml").write_text(
        "{_target_: own_package.mine.Mine, order: size, passes: 1, points: 2, layers: 1, dropout: 0.0, slots: 5, "
        "hidden_size: 8}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command("train", *TINY, *SHAPES, f"hydra.searchpath=[file://{tmp_path}/conf]", "decoder=mine", "decoder.order=size",
            f"hydra.run.dir={tmp_path / 'run'}")
    assert (tmp_path / "run/record.json").exists()
    found = load(tmp_path / "run/checkpoints/best.ckpt", allow="own_package")
    assert found.detector.decoder.memory.weight.shape == (2, 2)
    config = {"decoder": {"_target_": "own_package.mine.Mine", "order": "size", "passes": 1, "candidates": 1000}}
    assert modernised(config, "") == config


def test_checkpoints_of_today_are_left_alone():
    state = {"detector.decoder.memory.weight": 1, "detector.decoder.reading.bias": 2}
    run = {"config": {"decoder": {"_target_": "detector.decoders.lstm.LSTM", "order": "size"}}, "format": FORMAT}
    checkpoint = {"run": run, "state_dict": dict(state)}
    modernise(checkpoint)
    assert checkpoint == {"run": run, "state_dict": state}


@pytest.mark.parametrize("argument, said", [
    ("decoder.passes=3", "decoder.passes is called decoder.stages now"),
    ("loss.set.near_iou=null", "loss.set.near_iou is called loss.set.positive_iou now"),
    ("+decoder.explore=0.1", "decoder.explore is called decoder.sampling_rate now"),
    ("decoder.writes=2", f"decoder.writes is gone: .* commit {LAST_COMMIT} is the last to have it"),
    ("decoder.coverage=true", "decoder.coverage is gone"), ("++loss.set.monotone_weight=1", "monotone_weight is gone"),
])
def test_old_options_are_refused_with_what_there_is(argument, said):
    with pytest.raises(InputError, match=said):
        refuse_typed(["experiment=shapes", argument])
    refuse_typed(["experiment=shapes", "decoder.stages=3", "-m"])


def test_options_that_meant_something_else_in_other_decoders():
    with pytest.raises(InputError, match="decoder.writes is called decoder.boxes_per_cell now"):
        refuse_typed(["decoder=lstm_grid", "decoder.writes=3"])
    with pytest.raises(InputError, match="decoder.candidates is gone"):
        refuse_typed(["decoder=dense,lstm_pointer", "decoder.candidates=50"])
    refuse_typed(["decoder=lstm_pointer", "decoder.candidates=50"])


def test_an_experiment_of_one_s_own_with_old_options_is_refused(tmp_path):
    config = run_config(tmp_path)
    refuse_composed(config)
    config["loss"]["set"]["near_iou"] = 0.4
    with pytest.raises(InputError, match="loss.set.near_iou is called loss.set.positive_iou now"):
        refuse_composed(config)


def test_the_command_line_says_so(capsys):
    said = refused(capsys, "train", "decoder.passes=1,2", "-m")
    assert said == "error: decoder.passes is called decoder.stages now\n"
