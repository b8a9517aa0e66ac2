"""Training as a whole: averaged weights, resumption, several processes, bad samples."""

import json
import os
import subprocess
import sys
import time

import lightning
import numpy as np
import pytest
import torch
from scenes import OFFLINE, ROOT, run_config, write_voc

from detector.build import build_datamodule, build_task, instantiate
from detector.checkpoint import load_task, load_weights, read_checkpoint, thresholds_of
from detector.commands.testing import choose_on_val
from detector.data.annotations import Record
from detector.data.dataset import DetectionDataset
from detector.errors import InputError
from detector.training.callbacks import sample_pictures
from detector.types import Batch, Locations, Output, Scene, StagePredictions, Target

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short

SMALL = [
    "data.dataset.splits={train: 12, val: 6, test: 7}", "data.batch_size=4", "data.num_workers=0", "decoder.slots=20",
    "neck.width=32", "decoder.hidden_size=32", "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1",
    "callbacks.progress=null", "callbacks.learning_rate=null", "logger={}", "decoder.dropout=0.1",
]


class StopAfter(lightning.Callback):
    """As a person would by Ctrl+C, but between two epochs."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, task):
        if trainer.current_epoch + 1 == self.epochs:
            trainer.should_stop = True


def fit(folder, *overrides, stop_after=None, checkpoint=None):
    config = run_config(folder, *SMALL, "trainer.max_epochs=4", *overrides)
    torch.manual_seed(0)
    data = build_datamodule(config)
    task = build_task(config, data.class_names)
    callbacks = [instantiate(one) for one in config["callbacks"].values() if one]
    if stop_after:
        callbacks.append(StopAfter(stop_after))
    trainer = instantiate(config["trainer"], callbacks=callbacks, logger=False)
    trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return task, data, trainer


@pytest.mark.slow
def test_resuming_ends_with_the_weights_of_an_uninterrupted_run(tmp_path):
    straight, _, _ = fit(tmp_path / "straight")
    fit(tmp_path / "first", stop_after=2)
    resumed, _, trainer = fit(tmp_path / "second", checkpoint=tmp_path / "first/checkpoints/last.ckpt")
    assert trainer.current_epoch == 4
    a, b = (read_checkpoint(tmp_path / run / "checkpoints/last.ckpt") for run in ("straight", "second"))
    for state in ("state_dict", "current_model_state"):
        for name in a[state]:
            assert torch.equal(a[state][name], b[state][name]), f"{state}: {name}"
    assert all(torch.equal(x, y) for x, y in zip(straight.parameters(), resumed.parameters()))


@pytest.mark.slow
def test_the_time_of_training_ends_with_it_and_counts_what_was_resumed(tmp_path):
    task, _, _ = fit(tmp_path / "first", stop_after=2)
    spent = task.train_seconds
    time.sleep(0.01)
    assert task.train_seconds == spent > 0
    checkpoint = tmp_path / "first/checkpoints/last.ckpt"
    saved = read_checkpoint(checkpoint)
    assert 0 < saved["train_seconds"] <= spent
    saved["train_seconds"] += 1e6
    torch.save(saved, checkpoint)
    resumed, _, _ = fit(tmp_path / "second", checkpoint=checkpoint)
    assert resumed.train_seconds > 1e6


def test_averaged_weights_are_the_ones_saved_and_evaluated(tmp_path):
    task, data, trainer = fit(tmp_path, "trainer.max_epochs=2", "test_checkpoint=last")
    saved = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    assert any(not torch.equal(saved["state_dict"][k], saved["current_model_state"][k]) for k in saved["state_dict"])
    loaded = load_task(saved)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, saved["state_dict"][name])
    logged = trainer.callback_metrics["val/AP"].item()
    tester = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    tester.test(loaded, dataloaders=data.loader(data.val), verbose=False)
    assert loaded.scores["decoder"]["AP"] == pytest.approx(logged, abs=1e-6)


def test_pictures_of_validation_images_show_what_the_averaged_weights_find(tmp_path, monkeypatch):
    drawn_with = []

    class Watched(sample_pictures.Predictor):
        def __init__(self, detector, **options):
            drawn_with.append({name: value.clone() for name, value in detector.state_dict().items()})
            super().__init__(detector, **options)

    monkeypatch.setattr(sample_pictures, "Predictor", Watched)
    fit(tmp_path, "trainer.max_epochs=2")
    saved = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    assert len(drawn_with) == 2 and (tmp_path / "pictures").exists()
    for name, value in drawn_with[-1].items():
        assert torch.equal(value, saved["state_dict"][f"detector.{name}"]), name


def test_a_checkpoint_that_does_not_fit(tmp_path):
    fit(tmp_path, "trainer.max_epochs=1")
    checkpoint = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    config = run_config(tmp_path, *SMALL, "decoder.hidden_size=48")
    with pytest.raises(InputError, match="does not fit: .* tensors differ, detector.decoder"):
        load_weights(build_task(config, ["circle"] * 6), checkpoint)
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(InputError, match="no checkpoint of tools/train.py"):
        read_checkpoint(tmp_path / "text.ckpt")
    with pytest.raises(InputError, match="no checkpoint .*missing.ckpt; found"):
        read_checkpoint(tmp_path / "missing.ckpt")


def test_the_backbone_learns_more_slowly(tmp_path):
    task, _, trainer = fit(tmp_path, "trainer.max_epochs=1", "backbone_lr_factor=0.25")
    heads, backbone = trainer.optimizers[0].param_groups
    assert backbone["initial_lr"] == pytest.approx(0.25 * heads["initial_lr"])
    inside = {id(p) for p in task.detector.backbone.parameters() if p.requires_grad}
    assert {id(p) for p in backbone["params"]} == inside
    assert len(heads["params"]) + len(inside) == sum(p.requires_grad for p in task.parameters())


def test_bad_images_and_crowded_ones_cost_no_run(tmp_path, caplog):
    root = write_voc(tmp_path / "data")
    (root / "JPEGImages/b.png").write_bytes(b"not a picture")
    splits = "data.dataset.splits={train: all, val: all, test: all}"
    task, _, trainer = fit(
        tmp_path, "data=voc_folder", f"data.dataset.root={root}", splits, "data.canvas=[64,64]", "data.batch_size=1",
        "data.num_workers=0", "decoder.slots=2", "trainer.max_epochs=1",
    )
    assert trainer.current_epoch == 1 and len(task.metrics["val"].rows) == 3  # of four images
    assert sum("b.png: does not open" in message for message in caplog.messages) == 1
    assert "image 3 has 3 objects, more than decoder.slots=2: 1 of them cannot be learnt" in caplog.text


def test_what_does_best_on_val_is_chosen(tmp_path, monkeypatch):
    """Every location draws one of two boxes on each of two objects whose own boxes overlap by .65: a threshold below
    suppresses one object, one above .89 lets a second box of each through."""
    task = build_task(run_config(tmp_path, "decoder=dense", *OFFLINE), ["circle"])
    target = Target(torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.1, 0.185, 0.5, 0.585]]), torch.tensor([0, 0]), 1, (100, 100))
    near = torch.tensor([[0.1, 0.1, 0.5, 0.545], [0.1, 0.185, 0.5, 0.63]])  # IoU .9 with the objects
    dense = StagePredictions(
        torch.tensor([[[3.0], [2.9], [2.5], [2.4]]]), torch.cat([target.boxes, near])[[0, 2, 1, 3]].unsqueeze(0)
    )
    nowhere = Locations(torch.zeros(4, 2), torch.zeros(4, 2), [(2, 2)])

    seen = []

    class Seen(torch.nn.Module):
        def forward(self, images):
            seen.append(images.device.type)
            return Output(Scene([], dense, nowhere, dense, (100, 100)), dense, [dense])

    task.detector.forward = Seen().forward
    batch = Batch(torch.zeros(1, 3, 100, 100, dtype=torch.uint8), [target])
    record = Record(
        1, tmp_path, (100, 100), 100 * target.boxes.double().numpy(), np.zeros(2, np.int64), np.zeros(2, bool),
        np.zeros(2, bool), np.full(2, 1600.0),
    )
    dataset = DetectionDataset.__new__(DetectionDataset)
    dataset.records, dataset.class_names, dataset.category_ids = [record], ["circle"], [1]
    task.detector.to("meta")  # a device that the task does not know of, as it was not moved itself
    choose_on_val(task, dataset, [(batch, [])], nms=True)
    assert seen == ["meta"] and task.run["thresholds"] == [0.5]  # two objects are too few
    monkeypatch.setattr("detector.commands.testing.LEAST_FOUND", 2)
    choose_on_val(task, dataset, [(batch, [])], nms=True)
    assert task.nms_threshold in (0.7, 0.8)
    assert task.detector.decoder.nms_threshold == task.nms_threshold
    assert task.run["thresholds"] == pytest.approx([torch.tensor([2.5, 2.9]).sigmoid().mean().item()], abs=1e-3)
    dataset.records[0].ignored[:] = True
    before = task.run.pop("thresholds")
    choose_on_val(task, dataset, [(batch, [])], nms=False)
    assert before and "thresholds" not in task.run and thresholds_of(task.run) == [0.5]


def test_a_validation_split_without_objects(tmp_path, caplog):
    root = write_voc(tmp_path / "data")
    (root / "ImageSets/Main/empty.txt").write_text("c\n")
    splits = "data.dataset.splits={train: all, val: empty, test: all}"
    _, _, trainer = fit(
        tmp_path, "data=voc_folder", f"data.dataset.root={root}", splits, "data.canvas=[64,64]", "trainer.max_epochs=1",
        "data.num_workers=0",
    )
    assert "the validation split holds no objects" in caplog.text
    assert trainer.callback_metrics["val/AP"] == 0


PROCESS = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
import lightning
from scenes import run_config
from detector.build import build_datamodule, build_task
config = run_config({folder!r}, *{overrides!r})
lightning.seed_everything(0, verbose=False)
data = build_datamodule(config)
task = build_task(config, data.class_names)
trainer = lightning.Trainer(accelerator="cpu", devices={processes}, strategy="ddp" if {processes} > 1 else "auto",
    max_epochs=1, limit_train_batches={batches}, logger=False, enable_progress_bar=False, enable_checkpointing=False,
    use_distributed_sampler=False, num_sanity_val_steps=0, default_root_dir={folder!r})
trainer.validate(task, datamodule=data, verbose=False)
first = trainer.callback_metrics["val/AP"].item()
trainer.fit(task, datamodule=data)
trainer.test(task, datamodule=data, verbose=False)
weights = [p.sum().item() for p in task.parameters()]
if trainer.is_global_zero:
    images = len(task.metrics["decoder"].rows)
    print("RESULT", json.dumps([first, task.scores["decoder"]["AR100"], images, sum(weights)]))
"""


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path):
    """Two processes with half the batch each see the batches of one process; the metric is gathered over both."""
    results = []
    for processes, batch_size in ((1, 4), (2, 2)):
        overrides = [*SMALL, f"data.batch_size={batch_size}", "decoder.dropout=0.0"]
        script = PROCESS.format(
            tests=str(ROOT / "tests"), folder=str(tmp_path), overrides=overrides, processes=processes, batches=1
        )
        file = tmp_path / f"run{processes}.py"
        file.write_text(script)
        ran = subprocess.run(
            [sys.executable, file], capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        (line,) = (line for line in ran.stdout.splitlines() if line.startswith("RESULT"))
        results.append(json.loads(line.removeprefix("RESULT ")))
    one, two = results
    assert one[2] == two[2] == 7
    assert two[0] == pytest.approx(one[0], abs=1e-6)
