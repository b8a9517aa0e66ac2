"""Four images of each data set are learnt by heart: whatever breaks learning shows here first."""

import numpy as np
import pytest
import torch
from scenes import run_config

from detector.build import build_datamodule, build_task, instantiate
from detector.data.annotations import Record
from detector.data.datamodule import DataModule
from detector.data.dataset import DetectionDataset
from detector.evaluation.coco_map import CocoMAP
from detector.postprocess import detections_of

SETS = {
    "bccd": ["data=bccd", "data.dataset.root={shared}/bccd", "data.canvas=[256,192]"],
    "voc": [
        "data=voc", "data.dataset.root={shared}/voc", "data.dataset.splits.train=[VOC2007/train]",
        "data.canvas=[192,192]",
    ],
    "coco": [
        "data=coco", "data.dataset.root={shared}/coco_tiny", "data.canvas=[256,256]",
    ],
}


def clear(record: Record, canvas: tuple[int, int]) -> bool:
    """Whether it holds objects, each at least 6 pixels wide and high on the canvas."""
    sides = (record.boxes[:, 2:] - record.boxes[:, :2]) / np.array(record.size[::-1]) * np.array(canvas)
    return len(sides) > 0 and bool((sides >= 6).all())


def learn_by_heart(config: dict, data: DataModule, *, steps: int, every: int, enough: float) -> None:
    """Train on the first four training images until AP on them is `enough`."""
    batch, _ = DetectionDataset.collate([data.train[(0, index)] for index in range(4)])
    task = build_task(config, data.class_names)
    optimizer = instantiate(config["optimizer"], _partial_=True)(task.detector.parameters())
    schedule = instantiate(config["schedule"], _partial_=True)(optimizer, total_steps=steps)
    metric = CocoMAP(data.train)
    best = 0.0
    for step in range(1, steps + 1):
        task.train()
        loss = torch.stack(list(task.losses(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % every == 0:
            task.eval()
            with torch.no_grad():
                output = task.detector(batch.images)
            metric.reset()
            metric.update(
                [t.image_id for t in batch.targets], detections_of(output.stages[-1], [t.size for t in batch.targets])
            )
            best = max(best, metric.compute()["AP"])
            print(step, loss.item(), best)
            if best >= enough:
                return
    pytest.fail(f"after {steps} steps AP is {best:.3f}, expected {enough}")


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_four_images(name, shared_data, tmp_path):
    overrides = [override.format(shared=shared_data) for override in SETS[name]]
    config = run_config(
        tmp_path, *overrides, "augmentation=none", "backbone_lr_factor=1.0", "optimizer.weight_decay=0",
        "loss.dense.box_weight=equal",
    )
    torch.manual_seed(0)
    data = build_datamodule(config)
    data.train.records = [record for record in data.train.records if clear(record, data.augment.canvas)][:4]
    learn_by_heart(config, data, steps=600, every=25, enough=0.95)


def test_four_shapes_with_fcos(tmp_path):
    config = run_config(
        tmp_path, "proposals=fcos", "decoder=dense", "neck.width=64", "proposals.depth=2", "augmentation=none",
        "data.dataset.splits={train: 4, val: 2, test: 2}", "backbone_lr_factor=1.0", "optimizer.weight_decay=0",
    )
    torch.manual_seed(0)
    learn_by_heart(config, build_datamodule(config), steps=60, every=20, enough=0.9)
