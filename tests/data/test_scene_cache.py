"""What a frozen detector makes of images is what it would make of them again."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from scenes import OFFLINE, run_config, write_voc

from detector.build import build_datamodule, build_task
from detector.data import scene_cache
from detector.data.datamodule import DataModule
from detector.data.scene_cache import SceneCache
from detector.errors import InputError
from detector.training.task import Task
from detector.types import Batch

SMALL = [
    "data.dataset.splits={train: 6, val: 2, test: 2}", "data.batch_size=4", "data.num_workers=0", "neck.width=32",
    "hidden_size=32", "slots=20", "train_only=decoder",
]


def made(tmp_path: Path, *overrides: str) -> tuple[DataModule, Task]:
    """The data of a run and a frozen detector whose dense head has found something to say."""
    config = run_config(tmp_path, *SMALL, *OFFLINE, *overrides)
    torch.manual_seed(0)
    data = build_datamodule(config)
    task = build_task(config, data.class_names)
    for name, part in task.detector.proposals.named_modules():
        if name.endswith(("class_output", "cls_logits")):
            torch.nn.init.normal_(part.weight, std=0.3)
    return data, task.train()


def filled(tmp_path: Path, data: DataModule, task: Task, epochs: int = 2, gigabytes: float = 1.0) -> SceneCache:
    """The cache of a run in float32."""
    with torch.no_grad():
        SceneCache.fill(
            tmp_path / "cache", data.loader(data.train), task.detector.look, epochs=epochs, gigabytes=gigabytes,
            note=task.note,
        )
    return SceneCache(tmp_path / "cache")


@pytest.mark.parametrize("overrides", [
    ["decoder=lstm"], ["decoder=lstm", "neck.finest_stride=4", "proposals.finest_stride=4"],
    ["decoder=lstm_attention", "decoder.sampling_rate=0"], ["decoder=lstm", "proposals=fcos"],
], ids=["lstm", "finer-levels", "lstm_attention", "fcos"])
def test_losses_are_those_of_the_images(overrides, tmp_path):
    data, task = made(tmp_path, *overrides)
    cache = filled(tmp_path, data, task)
    for keys in ([(0, 0), (0, 3), (0, 5)], [(1, 2), (1, 4)]):
        samples = [data.train[key] for key in keys]
        images = Batch(torch.stack([sample.image for sample in samples]), [sample.target for sample in samples])
        batch, reasons = cache.collate([cache[key] for key in keys])
        assert len(batch) == len(keys) and not reasons and batch.seen.pyramid[0].dtype == torch.float32
        seen, expected = batch.seen, task.detector.look(images.images)
        assert torch.equal(seen.dense.boxes, expected.dense.boxes)  # in full, the rest by half floats
        for mine, theirs in zip((*seen.pyramid, seen.dense.logits), (*expected.pyramid, expected.dense.logits)):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)
        assert torch.equal(seen.locations.centres, expected.locations.centres) and seen.canvas == expected.canvas
        assert seen.locations.shapes == expected.locations.shapes
        for mine, theirs in zip(batch.targets, images.targets):
            assert torch.equal(mine.boxes, theirs.boxes) and torch.equal(mine.labels, theirs.labels)
            assert (mine.image_id, mine.size) == (theirs.image_id, theirs.size)
        moved = move_data_to_device((batch, reasons), "meta")[0]  # as Lightning does
        tensors = (*moved.seen.pyramid, moved.seen.dense.boxes, moved.seen.locations.strides, moved.targets[0].boxes)
        assert all(tensor.is_meta for tensor in tensors)
        from_disk, from_images = task.losses(batch), task.losses(images)
        assert from_disk.keys() == from_images.keys() >= {"class", "l1"} and "dense_class" not in from_disk
        for name, term in from_images.items():
            torch.testing.assert_close(from_disk[name], term, rtol=2e-3, atol=1e-4)


def test_epochs_are_augmented_differently_and_come_again(tmp_path):
    scene = {stem: ((80, 60), [("cat", 10, 5, 40, 30)]) for stem in "abcd"}
    root = write_voc(tmp_path / "data", scene)
    data, task = made(
        tmp_path, "data=voc_folder", f"data.dataset.root={root}", "data.canvas=[64,64]", "augmentation=light",
        "data.dataset.splits={train: all, val: all, test: all}", "data.num_workers=1",
    )
    cache = filled(tmp_path, data, task)
    boxes = [[cache[epoch, index][1].boxes for index in range(4)] for epoch in range(4)]
    assert any(not torch.equal(first, second) for first, second in zip(boxes[0], boxes[1]))
    assert all(torch.equal(*pair) for epoch in (0, 1) for pair in zip(boxes[epoch], boxes[epoch + 2]))
    data.scenes, orders = cache, list[list[int]]()
    for epoch in range(3):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        orders.append([target.image_id for batch, _ in loader for target in batch.targets])
    assert all(sorted(order) == sorted(orders[0]) for order in orders) and orders[0] != orders[2]


def test_images_that_cannot_be_read_are_told_and_left_out(tmp_path, caplog):
    root = write_voc(tmp_path / "data")
    (root / "JPEGImages/b.png").write_bytes(b"not a picture")
    everything = "data.dataset.splits={train: all, val: all, test: all}"
    words = ["data=voc_folder", f"data.dataset.root={root}", everything, "data.canvas=[64,64]", "data.batch_size=1"]
    data, task = made(tmp_path, *words)
    with caplog.at_level(logging.WARNING):
        cache = filled(tmp_path, data, task)
    assert sum("b.png: does not open" in message for message in caplog.messages) == 1 and len(task.skipped) == 1
    assert len(cache) == 3
    for epoch in (0, 1):
        assert [cache[epoch, index][1].image_id for index in range(3)] == [
            data.train[epoch, index].target.image_id for index in (0, 2, 3)
        ]
    for file in (root / "JPEGImages").iterdir():
        file.write_bytes(b"not a picture")
    with pytest.raises(InputError, match="no image of the training split can be read"):
        filled(tmp_path / "none", data, task)


@pytest.mark.parametrize("gigabytes, free, limit", [
    (0.0001, 10**12, "cache.gigabytes=0.0001: lower cache.epochs"), (8.0, 10**5, "the 0.0001 GB free in .*: lower"),
])
def test_what_does_not_fit_is_refused_before_it_is_filled(gigabytes, free, limit, tmp_path, monkeypatch):
    data, task = made(tmp_path)
    monkeypatch.setattr(scene_cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    with pytest.raises(InputError, match=f"of the training images takes 0.00.* GB, more than {limit}"):
        filled(tmp_path, data, task, gigabytes=gigabytes)
    assert (tmp_path / "cache/scenes.bin").stat().st_size == 0 and not SceneCache.complete(tmp_path / "cache")


def test_what_is_frozen_evaluates_in_training(tmp_path):
    _, task = made(tmp_path)  # with batch-norms that would be trained
    detector = task.detector
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    images = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8)
    detector.train()(images)
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    for part in (detector.backbone, detector.neck, detector.proposals):
        assert not any(module.training for module in part.modules())
        assert not any(parameter.requires_grad for parameter in part.parameters())
    assert detector.decoder.training and all(p.requires_grad for p in detector.decoder.parameters())
