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
from detector.old_names import FORMAT, MODULES, REPLACED, modernise, modernised, refuse_composed, refuse_typed

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short

LAST_COMMIT, LAST_WITH_STAGES, LAST_OF_FORMAT_3, LAST_OF_FORMAT_4 = "3bca1f7", "9187b78", "10be6e3", "7bc10e2"
GRID = [*(word for word in TINY if not word.startswith("decoder.")), *SHAPES, "decoder=lstm_grid", "hidden_size=32",
        "slots=20", "pictures=0"]
BEFORE = json.loads(Path(__file__).with_name("before_the_renaming.json").read_text())
"""Of each decoder, part of its config and, of those that can be built still, the names and shapes of its parameters,
written by commit 9858abf."""
LOCAL_MAXIMA = {"peak_window": 3, "peak_levels": True, "off_peak": 0.0}
"""Of the proposals, up to format 2."""


@pytest.fixture(scope="module")
def trained_grid(tmp_path_factory) -> Path:
    """The directory of a tiny run of a decoder that can be built still."""
    folder = tmp_path_factory.mktemp("grid")
    command("train", *GRID, f"hydra.run.dir={folder}")
    return folder


def old_config(decoder: str, folder) -> dict:
    config = run_config(folder, f"decoder={decoder}", "neck.width=16", "hidden_size=16", "slots=10", *OFFLINE)
    del config["proposals"]["nms_threshold"]
    return {**config, "proposals": {**config["proposals"], **LOCAL_MAXIMA}, **copy.deepcopy(BEFORE[decoder]["config"])}


def aged(file: Path, new_file: Path, *, renamed: bool, **decoder) -> Path:
    """A checkpoint as the last version before or after the renaming wrote it, with further options of its decoder."""
    checkpoint = torch.load(file, weights_only=True)
    config = checkpoint["run"]["config"]
    of_stages = "lstm" in config["decoder"]["_target_"].split(".")
    for key in ("state_dict", "current_model_state"):
        for name in list(checkpoint[key]):
            old_name = name.replace(".decoder.", ".decoder.stages.0.") if of_stages else name
            for old, new in MODULES.items() if ".decoder." in name and not renamed else ():
                old_name = old_name.replace(new, old)
            checkpoint[key][old_name] = checkpoint[key].pop(name)
    del config["proposals"]["nms_threshold"]
    config["proposals"] |= LOCAL_MAXIMA
    config["decoder"] |= {"stages" if renamed else "passes": 2, **decoder} if of_stages else {**decoder}
    checkpoint["run"]["format"] = 2
    if not renamed:
        if not of_stages:
            config["decoder"]["writes"] = config["decoder"].pop("boxes_per_cell")
        config["loss"]["set"] |= {"near_iou": config["loss"]["set"].pop("positive_iou"), "monotone_weight": 0.0}
        config["schedule"]["_target_"] = "detector.schedules.one_cycle"
        del checkpoint["run"]["format"]
    torch.save(checkpoint, new_file)
    return new_file


@pytest.mark.parametrize("decoder", [name for name in BEFORE if name not in REPLACED])
def test_what_the_last_version_before_wrote_fits_today(decoder, tmp_path):
    parameters = {name: torch.zeros(shape) for name, shape in BEFORE[decoder]["parameters"].items()}
    checkpoint = {"run": {"config": old_config(decoder, tmp_path)}, "state_dict": parameters}
    modernise(checkpoint)
    assert checkpoint["run"]["format"] == FORMAT
    detector = build_detector(checkpoint["run"]["config"], num_classes=2)
    today = {f"detector.{name}": value.shape for name, value in detector.state_dict().items() if "decoder." in name}
    assert {name: value.shape for name, value in checkpoint["state_dict"].items()} == today
    new = run_config(tmp_path, f"decoder={decoder}", "neck.width=16", "hidden_size=16", "slots=10", *OFFLINE)
    for group in ("decoder", "proposals", "loss", "schedule"):
        assert checkpoint["run"]["config"][group] == new[group]
    targets = {name: one["_target_"] for name, one in checkpoint["run"]["config"]["callbacks"].items()}
    assert targets == {name: one["_target_"] for name, one in new["callbacks"].items()}


@pytest.mark.parametrize("renamed", [False, True])
def test_a_checkpoint_of_an_earlier_version_is_used_as_one_of_today(renamed, trained_grid, tmp_path):
    new = trained_grid / "checkpoints/last.ckpt"
    old = aged(new, tmp_path / "old.ckpt", renamed=renamed)
    names = torch.load(old, weights_only=True)["state_dict"]
    assert any(".decoder.reading." in name for name in names) is not renamed
    picture = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    ours, theirs = load(new).predict(picture, threshold=0.0), load(old).predict(picture, threshold=0.0)
    assert len(ours) and torch.equal(ours.boxes, theirs.boxes) and torch.equal(ours.scores, theirs.scores)
    for group in ("decoder", "proposals"):
        assert read_checkpoint(old)["run"]["config"][group] == read_checkpoint(new)["run"]["config"][group]
    command("train", *GRID, "trainer.max_epochs=2", f"checkpoint={old}", f"hydra.run.dir={tmp_path / 'on'}")
    assert (tmp_path / "on/record.json").exists()


@pytest.mark.parametrize("decoder", REPLACED)
def test_decoders_that_have_been_replaced_are_not_built(decoder, tmp_path):
    today = run_config(tmp_path, f"decoder={decoder}")
    for run, last in (
        ({"config": old_config(decoder, tmp_path)}, LAST_WITH_STAGES),
        ({"config": today, "format": 2}, LAST_WITH_STAGES), ({"config": today, "format": 3}, LAST_OF_FORMAT_3),
    ):
        checkpoint = {"run": {**run, "class_names": ["a"]}, "state_dict": {}}
        modernise(checkpoint)
        torch.save(checkpoint, tmp_path / "old.ckpt")
        with pytest.raises(InputError, match=f"decoder, {decoder}, is another today; commit {last} is"):
            load(tmp_path / "old.ckpt")


def test_of_format_4_the_pointer_alone_has_been_replaced(tmp_path):
    """The sequence decoders of then had no intermediate stage, and are read as such."""
    config = run_config(tmp_path, "decoder=lstm_pointer", *OFFLINE)
    checkpoint = {"run": {"config": config, "class_names": ["a"], "format": 4}, "state_dict": {}}
    modernise(checkpoint)
    torch.save(checkpoint, tmp_path / "old.ckpt")
    with pytest.raises(InputError, match=f"decoder, lstm_pointer, is another today; commit {LAST_OF_FORMAT_4} is"):
        load(tmp_path / "old.ckpt")
    for decoder in ("lstm", "gru", "mlp", "transformer"):
        config = run_config(tmp_path, f"decoder={decoder}", "proposals.nms_threshold=0.8", *OFFLINE)
        for option in ("intermediate", "proposals", "thin_above"):
            del config["decoder"][option]
        checkpoint = {"run": {"config": config, "class_names": ["a"], "format": 4}}
        modernise(checkpoint)
        detector = build_detector(checkpoint["run"]["config"], num_classes=1)
        assert checkpoint["run"]["format"] == FORMAT and detector.decoder.intermediate is None
        assert detector.decoder.proposals == detector.decoder.slots and detector.proposals.nms_threshold == 0.8


@pytest.mark.parametrize("renamed", [False, True])
def test_the_detector_of_a_checkpoint_whose_decoder_has_been_replaced(renamed, trained, tmp_path, capsys):
    """Nothing is tested or gone on with; but another decoder can be trained behind its detector."""
    old = aged(trained / "checkpoints/last.ckpt", tmp_path / "old.ckpt", renamed=renamed)
    for said in (
        refused(capsys, "eval", f"checkpoint={old}", f"hydra.run.dir={tmp_path}/eval", "accelerator=cpu"),
        refused(capsys, "train", *TINY, *SHAPES, f"checkpoint={old}", f"hydra.run.dir={tmp_path}/on"),
    ):
        assert said == (
            f"error: the checkpoint's decoder, lstm, is another today; commit {LAST_WITH_STAGES} is the last to read "
            "it; today's can be trained behind its detector (initial=CHECKPOINT train_only=decoder)\n"
        )
    narrow = [word for word in TINY if not word.startswith("neck.")]
    command(
        "train", *narrow, *SHAPES, f"initial={old}", "train_only=decoder", "pictures=0", f"hydra.run.dir={tmp_path}/run"
    )
    assert "the decoder starts anew" in capsys.readouterr().out
    before, after = read_checkpoint(old), read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    for name, value in before["state_dict"].items():
        assert name.startswith("detector.decoder.") or torch.equal(value, after["state_dict"][name])
    assert not after["run"]["config"]["proposals"].keys() & LOCAL_MAXIMA and after["run"]["format"] == FORMAT
    load(tmp_path / "run/checkpoints/last.ckpt")


def test_a_run_of_an_earlier_version_is_gone_on_with_wherever_it_lies(trained_grid, tmp_path, capsys):
    folder = tmp_path / "moved"
    shutil.copytree(trained_grid, folder)
    options = [*GRID, f"hydra.run.dir={folder}", "continue=true"]
    command("train", *options)
    assert "is finished already" in capsys.readouterr().out
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(str(trained_grid), "out"))  # which other words end in
    command("train", *options)
    assert "dropout" in text and "is finished already" in capsys.readouterr().out
    config = yaml.safe_load(text)
    config["decoder"]["writes"] = config["decoder"].pop("boxes_per_cell")
    config["schedule"]["_target_"] = "detector.schedules.one_cycle"
    del config["proposals"]["nms_threshold"]
    config["proposals"] |= LOCAL_MAXIMA
    config = {key: config[key] for key in config.keys() - {"initial", "new_decoder", "train_only", "cache"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command("train", *options)
    assert "is finished already" in capsys.readouterr().out
    said = refused(capsys, "train", *options, "decoder.boxes_per_cell=4")
    assert "holds a run with other options (decoder)" in said


@pytest.mark.parametrize("decoder", ["lstm", "lstm_pointer"])
def test_a_run_of_a_decoder_that_has_been_replaced_is_another(decoder, tmp_path, capsys):
    options = [*TINY, *SHAPES, f"decoder={decoder}", f"hydra.run.dir={tmp_path}", "continue=true"]
    config = run_config(tmp_path, *TINY, *SHAPES, f"decoder={decoder}", "name=shapes")
    del config["proposals"]["nms_threshold"]
    config["proposals"] |= LOCAL_MAXIMA
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "record.json").touch()
    assert "holds a run with other options (proposals)" in refused(capsys, "train", *options)


@pytest.mark.parametrize("options, named", [
    ({"coverage": True}, "decoder.coverage=True"), ({"writes": 2}, "decoder.writes=2"),
    ({"groups": 2}, "decoder.groups=2"), ({"order": "random"}, "decoder.order=random"),
])
def test_options_that_are_gone_are_refused_where_they_did_something(options, named, trained, tmp_path):
    old = aged(trained / "checkpoints/last.ckpt", tmp_path / "old.ckpt", renamed=False, **options)
    with pytest.raises(InputError, match=f"old.ckpt was trained with {named}, which is gone; commit {LAST_COMMIT} is"):
        load(old)


@pytest.mark.slow
def test_somebody_s_own_decoder_may_use_what_names_it_likes(tmp_path, monkeypatch):
    """It trains, and its checkpoint is read back at the end."""
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package/mine.py").write_text(
        "from torch import nn\nfrom detector.decoders.lstm import LSTM\n"
        "class Mine(LSTM):\n"
        "    def __init__(self, *, order, stages, **options):\n"
        "        super().__init__(**options)\n"
        "        self.memory = nn.Linear(2, 2).requires_grad_(False)\n"
    )
    (tmp_path / "conf/decoder").mkdir(parents=True)
    (tmp_path / "conf/decoder/mine.yaml").write_text(
        "{_target_: own_package.mine.Mine, order: size, stages: 1, feedback: false, points: 2, layers: 1, "
        "dropout: 0.0, slots: 5, hidden_size: 8}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command("train", *TINY, *SHAPES, f"hydra.searchpath=[file://{tmp_path}/conf]", "decoder=mine", "decoder.stages=1",
            f"hydra.run.dir={tmp_path / 'run'}")
    assert (tmp_path / "run/record.json").exists()
    found = load(tmp_path / "run/checkpoints/best.ckpt", allow="own_package")
    assert found.detector.decoder.memory.weight.shape == (2, 2)
    config = {"decoder": {"_target_": "own_package.mine.Mine", "order": "size", "stages": 1, "candidates": 1000}}
    assert modernised(config, "") == config


def test_checkpoints_of_today_are_left_alone():
    state = {"detector.decoder.memory.weight": 1, "detector.decoder.reading.bias": 2}
    run = {"config": {"decoder": {"_target_": "detector.decoders.lstm.LSTM", "order": "size"}}, "format": FORMAT}
    checkpoint = {"run": run, "state_dict": dict(state)}
    modernise(checkpoint)
    assert checkpoint == {"run": run, "state_dict": state}


@pytest.mark.parametrize("argument, said", [
    ("loss.set.near_iou=null", "loss.set.near_iou is called loss.set.positive_iou now"),
    ("+decoder.explore=0.1", "decoder.explore is called decoder.sampling_rate now"),
    ("decoder.writes=2", f"decoder.writes is gone: .* commit {LAST_COMMIT} is the last to have it"),
    ("decoder.coverage=true", "decoder.coverage is gone"), ("++loss.set.monotone_weight=1", "monotone_weight is gone"),
    ("decoder.stages=3", f"decoder.stages is gone: .* commit {LAST_WITH_STAGES} is the last to have it"),
    ("decoder.passes=3", f"decoder.passes is gone: .* commit {LAST_WITH_STAGES} is"),
    ("proposals.peak_window=5", f"proposals.peak_window is gone: .* commit {LAST_WITH_STAGES} is"),
    ("proposals.peak_levels=false", "peak_levels is gone"), ("proposals.off_peak=0.1", "off_peak is gone"),
])
def test_old_options_are_refused_with_what_there_is(argument, said):
    with pytest.raises(InputError, match=said):
        refuse_typed(["experiment=shapes", argument])
    refuse_typed(["experiment=shapes", "decoder.layers=3", "proposals.nms_threshold=0.7", "-m"])


def test_options_that_meant_something_else_in_other_decoders():
    with pytest.raises(InputError, match="decoder.writes is called decoder.boxes_per_cell now"):
        refuse_typed(["decoder=lstm_grid", "decoder.writes=3"])
    with pytest.raises(InputError, match="decoder.candidates is gone"):
        refuse_typed(["decoder=dense,lstm_pointer", "decoder.candidates=50"])
    refuse_typed(["decoder=lstm_pointer", "decoder.candidates=50"])
    refuse_typed(["decoder=mine", "decoder.stages=3", "proposals=mine", "proposals.peak_window=3"])


def test_an_experiment_of_one_s_own_with_old_options_is_refused(tmp_path):
    config = run_config(tmp_path)
    refuse_composed(config)
    config["loss"]["set"]["near_iou"] = 0.4
    with pytest.raises(InputError, match="loss.set.near_iou is called loss.set.positive_iou now"):
        refuse_composed(config)
    config = run_config(tmp_path)
    config["proposals"]["off_peak"] = 0.1
    with pytest.raises(InputError, match="proposals.off_peak is gone"):
        refuse_composed(config)
    config["proposals"]["_target_"] = "mine.Head"
    refuse_composed(config)
    assert modernised(config, "")["proposals"] == config["proposals"]


def test_the_command_line_says_so(capsys):
    said = refused(capsys, "train", "decoder.passes=1,2", "-m")
    assert said == (
        f"error: decoder.passes is gone: see results/README.md; commit {LAST_WITH_STAGES} is the last to have it\n"
    )
