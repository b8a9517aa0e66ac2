"""Checkpoints of others: whatever is in the file, it runs nothing but this package, and only what is used is built."""

import copy
import shutil

import pytest
import torch
from PIL import Image
from running import SHAPES, TINY, command, refused
from scenes import OFFLINE, run_config

from detector import load
from detector.build import build_task
from detector.data.shapes import CLASS_NAMES
from detector.errors import InputError
from detector.old_names import FORMAT

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short

TOUCH = {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": ["FILE"]}]}
SHELL = {"_target_": "torch.utils.collect_env.run", "command": "touch FILE"}
HOSTILE = {
    "a library's function": TOUCH,
    "a shell": SHELL,
    "under our name": {**SHELL, "_target_": "detector.build.torch.utils.collect_env.run"},
    "a class that a module of ours imports": {**TOUCH, "_target_": "detector.data.dataset.Path.touch"},
    "a class of Python's under our name": {"_target_": "detector.training.task.partial", "_args_": [TOUCH]},
    "a function of ours": {"_target_": "detector.build.instantiate", "_args_": [TOUCH], "_recursive_": False},
    "Hydra's instantiate": {"_target_": "hydra.utils.instantiate", "config": TOUCH, "_recursive_": False},
    "Hydra's get_method": {"_target_": "hydra.utils.get_method", "path": "pathlib.Path.touch"},
    "in positional arguments": {"_target_": "detector.model.Detector", "_args_": [SHELL]},
    "in a partial one": {"_target_": "detector.model.Detector", "_partial_": True, "_args_": [SHELL]},
    "in a list of lists": {"_target_": "detector.model.Detector", "backbone": [[SHELL]]},
    "in a tuple": {"_target_": "detector.model.Detector", "backbone": (SHELL,)},
    "in a list alone": [SHELL],
    "a name put together": {"of": "torch.utils.collect_env", "_target_": "${.of}.run", "command": "touch FILE"},
    "out of the environment": {"_target_": "detector.model.Detector", "backbone": "${oc.env:HOME}"},
    "no name at all": {"_target_": ["pathlib.Path.touch"]},
    "an empty name": {"_target_": ""},
    "an odd name": {"_target_": "detector...os\0.system"},
    "a module": {"_target_": "detector.model"},
    "no plain value": {"_target_": "detector.model.Detector", "backbone": torch.zeros(1)},
}


def filled(node, file):
    """The same with the name of a file in it."""
    if isinstance(node, dict):
        return {key: filled(value, file) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(filled(value, file) for value in node)
    return node.replace("FILE", str(file)) if isinstance(node, str) else node


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> dict:
    """What a checkpoint holds."""
    config = run_config(
        tmp_path_factory.mktemp("none"), *OFFLINE, "neck.width=32", "hidden_size=32", "slots=20",
        "data.dataset.splits={train: 4, val: 2, test: 2}", "data.num_workers=0",
    )
    return {
        "run": {"config": config, "class_names": CLASS_NAMES, "format": FORMAT},
        "state_dict": build_task(config, CLASS_NAMES).state_dict(),
    }


@pytest.fixture
def save(untrained, tmp_path):
    """Writes a checkpoint with other groups in its config."""

    def written(**groups):
        checkpoint = copy.deepcopy(untrained)
        checkpoint["run"]["config"] |= groups
        torch.save(checkpoint, tmp_path / "saved.ckpt")
        return tmp_path / "saved.ckpt"

    return written


@pytest.mark.parametrize("inside", [False, True], ids=["itself", "inside"])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_but_our_classes_is_built(name, inside, save, tmp_path):
    decoder = filled(HOSTILE[name], tmp_path / "run")
    checkpoint = save(decoder={"_target_": "detector.model.Detector", "backbone": decoder} if inside else decoder)
    with pytest.raises(InputError, match="the checkpoint's decoder.* (names|is) .*|is no checkpoint of"):
        load(checkpoint)
    assert not (tmp_path / "run").exists()


def test_the_sentence_names_the_place_and_the_remedy(save):
    checkpoint = save(neck={"_target_": "detector.necks.feature_pyramid.FeaturePyramid", "width": [SHELL]})
    with pytest.raises(InputError) as refusal:
        load(checkpoint)
    assert str(refusal.value) == (
        "the checkpoint's neck.width.0 names 'torch.utils.collect_env.run', but of what a checkpoint names only "
        "classes of detector are built; if it is a class of your own, pass allow=[ITS_PACKAGE]"
    )


def test_what_is_not_used_is_not_built(save, tmp_path):
    """Nor need it be there: a run's optimizer, loss and data set may be anybody's."""
    shell = filled(SHELL, tmp_path / "run")
    groups = ("data", "matcher", "loss", "optimizer", "schedule", "augmentation", "callbacks", "logger", "trainer")
    gone = {"_target_": "gone.Gone", "canvas": [96, 64], "set": shell, "dense": shell}
    detections = load(save(**dict.fromkeys(groups, gone))).predict(Image.new("RGB", (96, 64)), threshold=0.0)
    assert len(detections) == 20 and not (tmp_path / "run").exists()


def test_own_classes_are_built_where_the_caller_says_so(save, untrained, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/parts.py").write_text(
        "from pathlib import Path\nfrom detector.decoders.lstm import LSTM\nfrom detector.data.shapes import Shapes\n"
        "class Mine(LSTM): pass\nclass MyShapes(Shapes): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = untrained["run"]["config"]
    decoder = {**config["decoder"], "_target_": "my_package.parts.Mine"}
    data = {**config["data"], "dataset": {**config["data"]["dataset"], "_target_": "my_package.parts.MyShapes"}}
    checkpoint = save(decoder=decoder, data=data, allow=["my_package", "pathlib"])  # its own word counts for nothing
    with pytest.raises(InputError, match="decoder names 'my_package.parts.Mine'"):
        load(checkpoint)
    for allow in ("my_package", ["my_package"], ["other", "my_package.parts"]):
        assert type(load(checkpoint, allow=allow).detector.decoder).__name__ == "Mine"
    for allow in ("my", ["my_pack"], ["my_package.parts.Mine"]):
        with pytest.raises(InputError, match="decoder names 'my_package.parts.Mine'"):
            load(checkpoint, allow=allow)
    Image.new("RGB", (96, 64)).save(tmp_path / "picture.png")
    for tool, arguments in (
        ("eval", ["accelerator=cpu"]), ("predict", [f"source={tmp_path}/picture.png", f"output_dir={tmp_path}/found"]),
    ):
        arguments = [f"checkpoint={checkpoint}", *arguments, f"hydra.run.dir={tmp_path}/out"]
        assert "only classes of detector are built" in refused(capsys, tool, *arguments)
        command(tool, *arguments, "allow=[my_package]")
    for name in ("Path", "Gone"):
        checkpoint = save(decoder={**decoder, "_target_": f"my_package.parts.{name}"})
        with pytest.raises(InputError, match=f"names 'my_package.parts.{name}', .* classes of detector, my_package"):
            load(checkpoint, allow=["my_package"])


BUILT = {"eval": ("backbone", "decoder", "data"), "predict": ("proposals",), "compare": ("neck", "data"), "train": ()}


@pytest.mark.parametrize("tool", BUILT)
def test_no_command_runs_what_a_checkpoint_names(tool, trained, tmp_path, capsys):
    """What a command builds is refused; what it does not build, of a run that is gone on with all, is left alone."""
    shutil.copytree(trained, tmp_path / "runs/hostile")
    file = tmp_path / "runs/hostile/checkpoints/best.ckpt"
    Image.new("RGB", (96, 64)).save(tmp_path / "picture.png")
    arguments = {
        "eval": [f"checkpoint={file}", "accelerator=cpu"],
        "predict": [f"checkpoint={file}", f"source={tmp_path}/picture.png", f"output_dir={tmp_path}/found"],
        "compare": [f"runs={tmp_path}/runs", "resamples=0", "rounds=1"],
        "train": [*TINY, *SHAPES, "pictures=0", f"checkpoint={file}"],
    }[tool] + [f"hydra.run.dir={tmp_path}/out"]
    before = torch.load(file, weights_only=True)

    def write(*groups):
        checkpoint = copy.deepcopy(before)
        config = checkpoint["run"]["config"]
        for group in groups:
            (config["data"]["dataset"] if group == "data" else config[group])["more"] = filled(SHELL, tmp_path / "run")
        torch.save(checkpoint, file)

    for group in BUILT[tool]:
        write(group)
        said = refused(capsys, tool, *arguments)
        assert f"the checkpoint's {group}" in said and "names 'torch.utils.collect_env.run'" in said
    every = ("neck", "backbone", "proposals", "decoder", "data") if tool == "train" else ()
    write("augmentation", "loss", "matcher", "optimizer", "schedule", "callbacks", "logger", "trainer", *every)
    command(tool, *arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", ["local://{folder}/precious", "{folder}/out/checkpoints/../../precious"])
def test_resuming_removes_no_file_that_a_checkpoint_names(path, trained, tmp_path, capsys):
    """Lightning removes the checkpoint that was best before, wherever the state that it goes on from says that is."""
    checkpoint = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    (tmp_path / "precious").write_text("kept")
    path = path.format(folder=tmp_path)
    for name, state in checkpoint["callbacks"].items():
        if name.startswith("ModelCheckpoint"):
            state |= {"best_model_path": path, "kth_best_model_path": path, "best_k_models": {path: torch.tensor(-1.0)}}
            del state["dirpath"]
    torch.save(checkpoint, tmp_path / "hostile.ckpt")
    said = refused(
        capsys, "train", *TINY, *SHAPES, "trainer.max_epochs=2", f"checkpoint={tmp_path}/hostile.ckpt", "pictures=0",
        f"hydra.run.dir={tmp_path}/out",
    )
    assert (tmp_path / "precious").exists()
    assert "hostile.ckpt names files elsewhere" in said
