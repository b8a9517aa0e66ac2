"""The whole path without a network: what the loader gives, fed back as predictions, must score 1.0 on the real sets."""

import pytest
import torch
from scenes import run_config

from detector.build import build_datamodule
from detector.evaluation.coco_map import CocoMAP
from detector.postprocess import detections_of
from detector.types import StagePredictions

SETS = {
    "bccd": ["data=bccd", "data.dataset.root={shared}/bccd", "data.canvas=[320,240]"],
    "voc": ["data=voc", "data.dataset.root={shared}/voc", "data.canvas=[256,256]"],
    "crowd of people": ["data=mot15_people", "data.dataset.root={shared}/crowd/mot15_people"],
    "crowd of any class": ["data=voc07_crowd", "data.dataset.root={shared}/crowd/voc07_crowd"],
    "coco": ["data=coco", "data.dataset.root={shared}/coco_tiny", "data.canvas=[320,320]"],
    "shapes": ["data=shapes"],
}


@pytest.mark.parametrize("name", SETS)
def test_ground_truth_fed_back(name, request, tmp_path):
    shared = "" if name == "shapes" else request.getfixturevalue("shared_data")
    overrides = [override.format(shared=shared) for override in SETS[name]]
    data = build_datamodule(run_config(tmp_path, *overrides, "data.num_workers=0", "data.batch_size=4"))
    metric = CocoMAP(data.val)
    for batch, reasons in list(data.val_dataloader())[:20]:
        assert not reasons
        for target in batch.targets:
            logits = torch.nn.functional.one_hot(target.labels, len(data.class_names)).float()[None] * 20 - 10
            metric.update(
                [target.image_id], detections_of(StagePredictions(logits, target.boxes[None]), [target.size])
            )
    scores = metric.compute()
    assert scores["AP"] == pytest.approx(1.0, abs=1e-3) and scores["AR100"] == pytest.approx(1.0, abs=1e-3)
