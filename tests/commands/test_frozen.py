"""A decoder trained by itself, behind a detector that stays as it is."""

import json

import pytest
import torch
from omegaconf import OmegaConf
from running import SHAPES, TINY, command, refused
from scenes import write_voc

import detector.backbones.efficientnet_lite0 as efficientnet_lite0
import detector.commands.detection as detection_commands
import detector.commands.frozen as frozen
from detector.checkpoint import read_checkpoint
from detector.training.task import Task

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short
NARROW = [word for word in TINY if not word.startswith("neck.")]  # as a person would type it: the checkpoint knows
FROZEN = ("detector.backbone.", "detector.neck.", "detector.proposals.")


def same_weights(state: dict, other: dict) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.fixture(scope="module")
def behind(trained, tmp_path_factory):
    """The folder of a run that trained a decoder behind that of `trained`, and its command."""
    folder = tmp_path_factory.mktemp("behind")
    words = [*NARROW, *SHAPES, "train_only=decoder", f"initial={trained}/checkpoints/last.ckpt", "pictures=0",
             "trainer.max_epochs=3"]
    command("train", *words, f"hydra.run.dir={folder}")
    return folder, words


def test_what_is_frozen_stays_to_the_last_bit(behind, trained):
    folder, _ = behind
    before = read_checkpoint(trained / "checkpoints/last.ckpt")["state_dict"]
    for file in ("best", "last"):
        after = read_checkpoint(folder / f"checkpoints/{file}.ckpt")
        for state in ("state_dict", "current_model_state"):  # averaged, and not
            assert after[state].keys() == before.keys()
            for name, value in before.items():
                same = torch.equal(value, after[state][name])
                assert same if name.startswith(FROZEN) else not same or not value.is_floating_point(), name
    groups = read_checkpoint(folder / "checkpoints/last.ckpt")["optimizer_states"][0]["param_groups"]
    decoder = [name for name in before if name.startswith("detector.decoder.")]
    assert sum(len(group["params"]) for group in groups) == len(decoder)


def test_the_run_says_behind_what_it_trained(behind, trained):
    folder, _ = behind
    made, record = (json.loads((folder / f"{name}.json").read_text()) for name in ("train", "record"))
    assert made["train_only"] == record["train_only"] == "decoder" and record["epochs"] == 3
    assert made["initial"] == record["initial"] and len(record["initial"]) == 16
    assert not (folder / "cache").exists()
    config = OmegaConf.load(folder / "config.yaml")
    assert config.neck == OmegaConf.load(trained / "config.yaml").neck and config.neck.width == 32
    header = (folder / "csv/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/class", "val/AP", "val/loss"} <= set(header) and "train/dense_class" not in header
    command("eval", f"checkpoint={folder}/checkpoints/best.ckpt", "accelerator=cpu", f"hydra.run.dir={folder}/eval")
    again, first = (json.loads((one / "metrics.json").read_text()) for one in (folder / "eval", folder))
    assert again == first


@pytest.mark.slow
def test_how_far_proposals_are_thinned_is_the_decoder_s_concern(trained, tmp_path):
    """It may differ from the checkpoint's run, and is then as typed; no other option of the frozen parts may."""
    words = [*NARROW, *SHAPES, "train_only=decoder", f"initial={trained}/checkpoints/last.ckpt", "pictures=0"]
    command("train", *words, "proposals.nms_threshold=0.7", f"hydra.run.dir={tmp_path}")
    before, after = (
        read_checkpoint(file / "checkpoints/last.ckpt")["run"]["config"]["proposals"] for file in (trained, tmp_path)
    )
    assert after == {**before, "nms_threshold": 0.7} and before["nms_threshold"] == 0.8


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_weights(behind, tmp_path, monkeypatch):
    folder, words = behind
    step = Task.training_step

    def until_the_third_epoch(self, loaded, index):
        if self.current_epoch == 2:
            raise RuntimeError("stopped")
        return step(self, loaded, index)

    words = [*words, "continue=true", f"hydra.run.dir={tmp_path}"]
    monkeypatch.setattr(Task, "training_step", until_the_third_epoch)
    with pytest.raises(SystemExit):
        command("train", *words)
    assert (tmp_path / "checkpoints/last.ckpt").exists() and not (tmp_path / "cache").exists()
    monkeypatch.setattr(Task, "training_step", step)
    (tmp_path / "cache").mkdir()  # as if it had been killed
    (tmp_path / "cache/scenes.bin").write_bytes(b"half of it")
    command("train", *words)
    resumed, straight = (read_checkpoint(one / "checkpoints/last.ckpt") for one in (tmp_path, folder))
    assert all(same_weights(resumed[state], straight[state]) for state in ("state_dict", "current_model_state"))
    assert json.loads((tmp_path / "record.json").read_text())["initial"] == straight["run"]["initial"]


@pytest.mark.slow
def test_behind_fcos(tmp_path):
    """As the README has it, and the decoder beside NMS."""
    words = [*SHAPES, *(word.removeprefix("decoder.") for word in TINY), "pictures=0"]
    command("train", *words, "proposals=fcos", "decoder=dense", f"hydra.run.dir={tmp_path}/fcos")
    words = [word for word in words if not word.startswith("neck.")] + ["train_only=decoder", "decoder=lstm"]
    last = tmp_path / "fcos/checkpoints/last.ckpt"
    command("train", *words, f"initial={last}", f"hydra.run.dir={tmp_path}/behind")
    before, after = (read_checkpoint(file) for file in (last, tmp_path / "behind/checkpoints/last.ckpt"))
    assert after["run"]["config"]["proposals"] == before["run"]["config"]["proposals"]
    frozen_before, frozen_after = (
        {name: value for name, value in one["state_dict"].items() if name.startswith(FROZEN)} for one in (before, after)
    )
    assert same_weights(frozen_before, frozen_after)
    command(
        "eval", f"checkpoint={tmp_path}/behind/checkpoints/best.ckpt", "accelerator=cpu", "suppression=true",
        f"hydra.run.dir={tmp_path}/eval",
    )
    assert (tmp_path / "eval/suppression.json").exists()
    records = [json.loads((tmp_path / run / "record.json").read_text()) for run in ("fcos", "behind")]
    assert records[0]["reference"] == records[1]["reference"]  # FCOS with NMS


@pytest.mark.slow
def test_a_sweep_over_decoders_shares_what_the_detector_sees(trained, tmp_path, monkeypatch, capsys):
    fills, fill = [], frozen.SceneCache.fill

    def noting(folder, *rest, **options):
        fills.append(folder.resolve())
        fill(folder, *rest, **options)

    monkeypatch.setattr(frozen.SceneCache, "fill", noting)
    tiny = [word for word in NARROW if not word.startswith("decoder.")]
    sweep = [
        "-m", "experiment=compare_decoders_frozen", f"initial={trained}/checkpoints/last.ckpt", *tiny, *SHAPES,
        "hidden_size=32", "slots=20", "decoder=lstm,mlp,dense", "seed=0,1", f"hydra.sweep.dir={tmp_path}",
    ]
    command("train", *sweep)
    assert [one.parent for one in fills] == [tmp_path / "cache"]  # one for both seeds
    assert len(list(tmp_path.glob("*/record.json"))) == 6  # in directories whose names hold no path
    dense = json.loads(next(tmp_path.glob("*decoder=dense*seed=0*/train.json")).read_text())
    records = [json.loads(file.read_text()) for file in tmp_path.glob("*/record.json")]
    assert all(record["reference"] == records[0]["reference"] for record in records)  # the same dense head
    assert dense["epochs"] == 0 and dense["checkpoint"] == "last.ckpt" and dense["train_seconds"] == 0.0
    (marker,) = fills[0].glob("index.pt")
    marker.unlink()  # as if filling it had been killed
    next(tmp_path.glob("*decoder=mlp*seed=0*/record.json")).unlink()
    next(tmp_path.glob("*decoder=dense*seed=1*/record.json")).unlink()
    command("train", *sweep)
    assert fills[1:] == fills[:1]
    command("compare", f"runs={tmp_path}", "baseline=dense", "resamples=20", "rounds=1")
    said = capsys.readouterr().out
    assert all(f"| {decoder} | 2 |" in said for decoder in ("lstm", "mlp", "dense"))


def test_weights_that_fit_are_taken_without_any_of_a_package(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(efficientnet_lite0, "imagenet_weights", None)
    monkeypatch.setattr(detection_commands, "scenes", None)  # nothing is frozen
    last = "checkpoints/last.ckpt"
    before = read_checkpoint(trained / last)["state_dict"]
    for new, said in (("false", "the decoder too"), ("true", "the decoder starts anew")):
        command(
            "train", *TINY, *SHAPES, f"initial={trained}/{last}", f"new_decoder={new}", "pictures=0",
            "optimizer.lr=1e-9", f"hydra.run.dir={tmp_path}/{new}",
        )
        assert said in capsys.readouterr().out
        after = read_checkpoint(tmp_path / new / last)["state_dict"]
        far = {name for name, value in before.items() if not torch.allclose(value, after[name], atol=1e-5)}
        assert all(name.startswith("detector.decoder.") for name in far) and bool(far) is (new == "true")
    record = json.loads((tmp_path / "true/record.json").read_text())
    assert record["train_only"] is None and len(record["initial"]) == 16


@pytest.mark.parametrize("options, sentence", [
    (["train_only=neck"], "train_only is 'neck'; it must be decoder, or null"),
    (["train_only=decoder"], "pass initial=CHECKPOINT"),
    (["train_only=decoder", "initial=nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
    (["initial={last}", "checkpoint={last}"], "give one of them"),
    (["train_only=decoder", "checkpoint={last}"], "is of a run with train_only=null"),
    (["train_only=decoder", "initial={last}", "neck.finest_stride=4"], "leave out neck.finest_stride, where that has"),
    (["train_only=decoder", "initial={last}", "data.canvas=[96,96]"], "leave out data.canvas, where that has"),
    (["train_only=decoder", "initial={last}", "backbone=resnet18"], "leave out backbone, where that has"),
    (["train_only=decoder", "initial={last}", "cache.epochs=0"], "cache.epochs is 0; it must be at least 1"),
    (["train_only=decoder", "initial={last}", "cache.gigabytes=0.0001"], "more than cache.gigabytes=0.0001: lower"),
    (["train_only=decoder", "initial={last}", "trainer.devices=2"], "trains in one process, and there are 2: pass"),
    (["initial={last}", "neck.finest_stride=4"], "tensors differ, detector.neck."),
])
def test_what_cannot_be_is_refused(options, sentence, trained, tmp_path, capsys):
    options = [option.format(last=trained / "checkpoints/last.ckpt") for option in options]
    assert sentence in refused(capsys, "train", *TINY, *SHAPES, *options, f"hydra.run.dir={tmp_path}")
    assert not (tmp_path / "cache").exists()


def test_only_our_classes_of_a_checkpoint_are_built(trained, tmp_path, capsys):
    checkpoint = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    checkpoint["run"]["config"]["neck"]["_target_"] = "torch.utils.collect_env.run"
    torch.save(checkpoint, tmp_path / "hostile.ckpt")
    said = refused(
        capsys, "train", *NARROW, *SHAPES, f"initial={tmp_path}/hostile.ckpt", "train_only=decoder",
        f"hydra.run.dir={tmp_path}/run",
    )
    assert "the checkpoint's neck names 'torch.utils.collect_env.run'" in said


def test_other_classes_are_refused(trained, tmp_path, capsys):
    root, last = write_voc(tmp_path / "data"), trained / "checkpoints/last.ckpt"
    said = refused(
        capsys, "train", *TINY, "data=voc_folder", f"data.dataset.root={root}", f"initial={last}", "train_only=decoder",
        "data.dataset.splits={train: all, val: all, test: all}", f"hydra.run.dir={tmp_path}/run",
    )
    assert "classes are circle, square, triangle, star, cross, ring, those of the data cat, dog; give" in said
