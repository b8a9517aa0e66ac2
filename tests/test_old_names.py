"""Checkpoints and options of earlier versions."""

import pytest
import torch
from running import SHAPES, TINY, command, refused

from detector import load
from detector.checkpoint import read_checkpoint
from detector.errors import InputError
from detector.old_names import LAST_COMMIT, MODULES, modernised, refuse_old_options

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short


def aged(file, new_file, **decoder):
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
    torch.save(checkpoint, new_file)
    return new_file


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


@pytest.mark.parametrize("options, named", [
    ({"coverage": True}, "decoder.coverage=True"), ({"writes": 2}, "decoder.writes=2"),
    ({"groups": 2}, "decoder.groups=2"), ({"order": "random"}, "decoder.order=random"),
])
def test_options_that_are_gone_are_refused_where_they_did_something(options, named, trained, tmp_path):
    old = aged(trained / "checkpoints/last.ckpt", tmp_path / "old.ckpt", **options)
    with pytest.raises(InputError, match=f"old.ckpt was trained with {named}, which is gone; commit {LAST_COMMIT} is"):
        load(old)


def test_options_that_meant_something_else_in_other_decoders_are_kept():
    grid = {"decoder": {"_target_": "detector.decoders.lstm_grid.LSTMGrid", "writes": 5}}
    assert modernised(grid, "")["decoder"] == {"_target_": grid["decoder"]["_target_"], "boxes_per_cell": 5}
    pointer = {"decoder": {"_target_": "detector.decoders.lstm_pointer.LSTMPointer", "candidates": 50, "explore": 0.2}}
    assert modernised(pointer, "")["decoder"] == {
        "_target_": pointer["decoder"]["_target_"], "candidates": 50, "sampling_rate": 0.2
    }
    dense = {"decoder": {"_target_": "detector.decoders.dense.Dense", "candidates": 1000}}
    assert "candidates" not in modernised(dense, "")["decoder"]


@pytest.mark.parametrize("argument, said", [
    ("decoder.passes=3", "decoder.passes is called decoder.stages now"),
    ("loss.set.near_iou=null", "loss.set.near_iou is called loss.set.positive_iou now"),
    ("+decoder.explore=0.1", "decoder.explore is called decoder.sampling_rate now"),
    ("decoder.writes=2", "decoder.writes is called decoder.boxes_per_cell now, and only lstm_grid has it"),
    ("decoder.coverage=true", f"decoder.coverage is gone: .* commit {LAST_COMMIT} is the last that has it"),
    ("++loss.set.monotone_weight=1", "loss.set.monotone_weight is gone"),
])
def test_old_options_are_refused_with_what_there_is(argument, said):
    with pytest.raises(InputError, match=said):
        refuse_old_options(["experiment=shapes", argument])
    refuse_old_options(["experiment=shapes", "decoder.candidates=50", "decoder.stages=3", "-m"])


def test_the_command_line_says_so(capsys):
    said = refused(capsys, "train", "decoder.passes=1,2", "-m")
    assert said == "error: decoder.passes is called decoder.stages now\n"
