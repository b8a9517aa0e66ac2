"""A decoder beside suppression on the same pictures: what is set beside it, and by how much they differ."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from running import command
from scenes import OFFLINE, run_config

from detector.build import build_task
from detector.commands.suppression_comparison import NMS, REFINED_NMS, SOFT_NMS, SuppressionComparison, table, variants
from detector.data.annotations import Record
from detector.data.dataset import DetectionDataset
from detector.detections import Detections
from detector.evaluation.matches import Matches
from detector.postprocess import detections_of, suppress
from detector.types import Locations, Output, Predictions, Scene, StagePredictions, Target

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short
OBJECTS = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.1, 0.185, 0.5, 0.585], [0.6, 0.6, 0.9, 0.9]])
"""The first two overlap by .65."""
SIZE = (100, 200)


def output(stage: torch.Tensor, proposals: torch.Tensor) -> Output:
    """Boxes on the objects, the second once more and a little off, and one on background; then what a decoder makes."""
    off = torch.tensor([[0.1, 0.185, 0.5, 0.6]])  # IoU .96 with the second
    boxes = torch.cat([OBJECTS, off, torch.tensor([[0.0, 0.7, 0.2, 0.9]])]).unsqueeze(0)
    dense = Predictions(torch.tensor([[[3.0], [2.0], [1.0], [0.0], [-1.0]]]), boxes)
    nowhere = Locations(torch.zeros(5, 2), torch.zeros(5, 2), [(1, 5)])
    listed, made = (StagePredictions(torch.zeros(1, len(some), 1), some.unsqueeze(0)) for some in (proposals, stage))
    scene = Scene([], dense, nowhere, listed, (100, 100))
    return Output(scene, dense, [made])


def target() -> Target:
    return Target(OBJECTS, torch.zeros(3, dtype=torch.int64), 1, SIZE)


def test_what_is_set_beside_a_decoder():
    given = output(OBJECTS[:1], OBJECTS[[2, 0, 0]])
    made = variants(given, [target()], slots=100)
    assert list(made) == [
        *NMS, *SOFT_NMS, *(f"{name}, errors undone" for name in NMS), "proposals", "best of the proposals",
        "best of the last stage",
    ]
    for name, threshold in NMS.items():
        (expected,) = detections_of(suppress(given.scene.dense, threshold=threshold), [SIZE])
        (found,) = made[name]
        assert torch.equal(found.boxes, expected.boxes) and torch.equal(found.scores, expected.scores)
        (again,) = made[f"{name}, errors undone"]  # at every threshold all objects once, and what is on background
        assert sorted(again.scores.tolist(), reverse=True) == torch.tensor([3.0, 2, 1, -1]).sigmoid().tolist()
    lengths = {name: len(made[name][0]) for name in NMS}
    assert lengths == {
        name: {0.3: 3, 0.4: 3, 0.5: 3, 0.6: 3, 0.7: 4, 0.8: 4, 0.9: 4}[threshold] for name, threshold in NMS.items()
    }
    (soft,) = made["soft-NMS, sigma 0.3"]
    assert len(soft) == 5
    (best,) = made["best of the proposals"]  # the first and the third object; the second has but one of IoU .65
    scale = torch.tensor([200.0, 100, 200, 100])
    for one, iou in ((OBJECTS[2], 1.0), (OBJECTS[0], 1.0), (OBJECTS[0], 0.65)):
        close = (best.boxes - one * scale).abs().amax(1) < 1e-3
        assert (best.scores[close] - iou).abs().min() < 0.01
    assert len(best) == 3 and len(made["best of the last stage"][0]) == 1
    assert len(variants(given, [target()], slots=2)["NMS at 0.9"][0]) == 2


def test_slots_that_are_not_valid_are_no_proposals():
    given = output(OBJECTS[:1], torch.cat([OBJECTS[:2], torch.zeros(3, 4)]))
    given.scene.proposals.valid = torch.arange(5).unsqueeze(0) < 2
    made = variants(given, [target()], slots=100)
    assert len(made["proposals"][0]) == len(made["best of the proposals"][0]) == 2


def test_nms_of_what_an_intermediate_stage_refined():
    """The proposals lie on the first two objects and on the second again, which the stage knows to be the better."""
    given = output(OBJECTS[:1], OBJECTS[[0, 1, 1]] + 0.005)
    logits = torch.tensor([[[2.0], [0.0], [1.0]]])
    given.stages.insert(0, StagePredictions(logits, OBJECTS[[0, 1, 1]].unsqueeze(0), one_to_many=True))
    made = variants(given, [target()], slots=100)
    assert REFINED_NMS.keys() <= made.keys() and "refined, NMS at 0.3" in REFINED_NMS
    (few,), (more,) = made["refined, NMS at 0.6"], made["refined, NMS at 0.7"]  # these two overlap by .65
    scale = torch.tensor([200.0, 100, 200, 100])
    torch.testing.assert_close(few.boxes, OBJECTS[:1] * scale)
    torch.testing.assert_close(more.boxes, OBJECTS[:2] * scale)
    torch.testing.assert_close(more.scores, torch.tensor([1.0, 0.5]).sigmoid())  # half of these logits, with 0


def test_a_decoder_without_proposals_and_an_image_without_objects():
    empty = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 1, SIZE)
    made = variants(output(OBJECTS[:1], OBJECTS[:0]), [empty], slots=100)
    assert "proposals" not in made and "best of the proposals" not in made
    assert len(made["best of the last stage"][0]) == 0
    assert len(made["NMS at 0.5"][0]) == len(made["NMS at 0.5, errors undone"][0]) == 3


def fake(tmp_path: Path, images: int, decoder: list[int], other: dict[str, list[int]]):
    """A tested task and its comparison, of one object an image: those found by each, exactly and with nothing else."""
    task = build_task(run_config(tmp_path, "decoder=dense", *OFFLINE), ["circle"])
    dataset = DetectionDataset.__new__(DetectionDataset)
    box = np.array([[10.0, 10, 50, 50]])
    none = np.zeros(1, bool)
    dataset.records = [
        Record(n, tmp_path, SIZE, box, np.zeros(1, np.int64), none, none, np.full(1, 1600.0)) for n in range(images)
    ]
    dataset.class_names, dataset.category_ids = ["circle"], [1]
    task.metrics["decoder"] = empty = task.metric_of(dataset)
    compared = SuppressionComparison()
    compared.metrics = {row: copy.copy(empty) for row in (*NMS, *SOFT_NMS)}
    for row, metric in {"decoder": empty, **compared.metrics}.items():
        hits = decoder if row == "decoder" else other.get(row, [])
        metric.reset()
        for n in range(images):
            count = int(n in hits)
            boxes, scores, labels = torch.tensor(box)[:count], torch.ones(count), torch.zeros(count, dtype=torch.int64)
            metric.update([n], [Detections(boxes, scores, labels, labels)])
    task.matches["decoder"] = Matches.of(task.metrics["decoder"])
    return task, compared


def ap(share: float) -> float:
    return (np.linspace(0, 1, 101) <= share + 1e-9).sum() / 101


def test_differences_from_what_is_best_on_these_pictures(tmp_path):
    """The decoder finds 8 of 10; NMS at .4 five of the same and none beside, soft-NMS at .3 exactly those 8."""
    eight, five = list(range(8)), list(range(5))
    task, compared = fake(tmp_path, 10, eight, {"NMS at 0.4": five, "NMS at 0.7": [9], "soft-NMS, sigma 0.3": eight})
    made = compared.compare(task, seed=0)
    assert made["rows"]["decoder"]["AP"] == pytest.approx(ap(0.8)) and made["rows"]["decoder"]["JI"] == 0.8
    assert made["rows"]["NMS at 0.9"]["AP"] == 0 and made["rows"]["NMS at 0.7"]["MR^-2"] == pytest.approx(0.9)
    assert [(one["measure"], one["from"]) for one in made["differences"]] == [
        ("AP", "NMS at 0.4"), ("AP", "soft-NMS, sigma 0.3"), ("AP50", "NMS at 0.4"), ("AP50", "soft-NMS, sigma 0.3")
    ]
    for one in made["differences"][::2]:  # in every resample at least as many: the difference is never negative
        assert one["difference"] == pytest.approx(ap(0.8) - ap(0.5))
        assert 0 <= one["difference_low"] < one["difference"] < one["difference_high"] and one["p"] < 0.1
    for one in made["differences"][1::2]:
        assert one["difference"] == one["difference_low"] == one["difference_high"] == 0 and one["p"] == 1
    lines = table(made).splitlines()
    assert lines[0].split()[:6] == ["AP", "AP50", "AP75", "AR100", "MR^-2", "JI"]
    assert lines[0].endswith("  recall of overlapping objects at precision .7")
    assert lines[1].split() == ["decoder", "0.802", "0.802", "0.802", "0.800", "0.200", "0.800", "–"]
    assert "decoder less NMS at 0.4, whose AP is the best on these pictures: AP +0.297 (" in lines[-4]


def test_without_objects_there_is_nothing_to_choose_by(tmp_path):
    task, compared = fake(tmp_path, 0, [], {})
    made = compared.compare(task, seed=0)
    assert made["differences"] == [] and np.isnan(made["rows"]["decoder"]["AP"]) and "–" in table(made)


def test_eval_with_suppression(trained, tmp_path, capsys):
    command(
        "eval", f"checkpoint={trained}/checkpoints/best.ckpt", f"hydra.run.dir={tmp_path}", "accelerator=cpu",
        "num_workers=0", "suppression=true", f"record={tmp_path}/record.json",
    )
    said = capsys.readouterr().out
    assert "decoder less NMS at 0." in said and "best of the last stage" in said
    made = json.loads((tmp_path / "suppression.json").read_text())
    tested = json.loads((tmp_path / "metrics.json").read_text())
    for row, name in (("decoder", "decoder"), ("NMS at 0.6", "dense_nms")):  # the same as of the test itself
        assert made["rows"][row] == {key: tested[name][key] for key in made["rows"][row]}
    assert json.loads((tmp_path / "record.json").read_text())["suppression"] == made
    page, without = ((folder / "report.html").read_text() for folder in (tmp_path, trained))
    for row in made["rows"]:
        assert f"<tr><td>{row}</td><td>0." in page
    assert "Beside suppression at its best" in page and "Beside suppression at its best" not in without
    assert len(made["rows"]) == 1 + 2 * len(NMS) + len(SOFT_NMS) + 3 and len(made["differences"]) == 4
