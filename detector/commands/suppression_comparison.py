"""A test of a decoder beside suppression at its best on the same pictures, and beside what could be reached at best."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float
from torchvision.ops import batched_nms

from detector.commands.testing import NMS_THRESHOLDS
from detector.decoders.intermediate_stage import averaged
from detector.detections import Detections
from detector.evaluation.analysis import rounded
from detector.evaluation.ceilings import best_slots, without_errors
from detector.evaluation.coco_map import CocoMAP
from detector.evaluation.crowding import CROWD_SCORES, crowd_scores
from detector.evaluation.matches import Matches
from detector.evaluation.report import shown
from detector.postprocess import candidates, detections_of, suppress
from detector.runs.comparison import interval, resampled
from detector.training.task import Task
from detector.types import Batch, Output, StagePredictions, Target

NMS = {f"NMS at {threshold}": threshold for threshold in NMS_THRESHOLDS}
REFINED_NMS = {f"refined, {name}": threshold for name, threshold in NMS.items()}
"""Of the boxes of the intermediate stage, where there is one."""
SOFT_NMS = {f"soft-NMS, sigma {sigma}": sigma for sigma in (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)}
"""Where many objects overlap, large ones are better: the best should not lie at the end."""
RESAMPLES = 1000
AT = {"AP": slice(None), "AP50": slice(1)}
"""The IoU thresholds that each is the mean of."""


class SuppressionComparison(lightning.Callback):
    """Gathers, in the test of a decoder, what suppression makes of the same dense output, and of the intermediate
    stage's where there is one; the detector runs once."""

    def __init__(self):
        self.metrics: dict[str, CocoMAP] = {}

    def on_test_batch_end(
        self, trainer: lightning.Trainer, task: Any, made: Any, loaded: tuple[Batch, list[str]], index: int,
        loader: int = 0,
    ) -> None:
        if not made:  # no image of the batch could be read
            return
        targets = loaded[0].targets
        for row, found in variants(made["output"], targets, slots=max(100, task.max_detections)).items():
            if row not in self.metrics:
                self.metrics[row] = copy.copy(task.metrics["decoder"])  # with the same ground truth
                self.metrics[row].reset()
            self.metrics[row].update([target.image_id for target in targets], found)

    def report(self, task: Task, folder: Path, *, seed: int) -> dict:
        """Print what came of it, write it to suppression.json in a folder, and return it."""
        compared = self.compare(task, seed=seed)
        print(table(compared))
        (folder / "suppression.json").write_text(json.dumps(rounded(compared), indent=1))
        print(f"suppression.json is in {folder}")
        return compared

    def compare(self, task: Task, *, seed: int) -> dict:
        """What came of it, by figures.

        Returns:
            `rows`, the scores of the decoder and of each of `variants` by name; and `differences`, the decoder less
            NMS, less soft-NMS and less NMS of refined boxes, each with what has the best AP (AP50, for the difference
            in AP50) on these very pictures, a choice in their favour: with the 95 % interval and p of a paired
            bootstrap over images.
        """
        metrics = {"decoder": task.metrics["decoder"], **self.metrics}
        rows = {row: _scores(Matches.of(metric)) for row, metric in metrics.items()}  # all matches at once take memory

        @cache
        def drawn(row: str) -> Float[np.ndarray, "R T"]:
            return resampled([Matches.of(metrics[row])], RESAMPLES, seed)

        differences = []
        for measure, at in AT.items() if len(task.matches["decoder"].object_labels) else ():
            for family in (NMS, SOFT_NMS, *[REFINED_NMS] * (REFINED_NMS.keys() <= rows.keys())):
                best = max(family, key=lambda row: rows[row][measure])
                differences.append({
                    "measure": measure, "from": best, "difference": rows["decoder"][measure] - rows[best][measure],
                    **interval((drawn("decoder") - drawn(best))[:, at].mean(1)),
                })
        return {"rows": rows, "differences": differences}


@torch.inference_mode()
def variants(output: Output, targets: list[Target], *, slots: int) -> dict[str, list[Detections]]:
    """What to set beside a decoder, by name, an item an image.

    NMS and soft-NMS of the dense output, and NMS with its errors undone (`without_errors`); NMS of the boxes that a
    one-to-many stage before the last has refined; the proposals as they are; and the best slots (`best_slots`) of the
    proposals and of the decoder's last stage.

    Args:
        output: of the detector.
        targets: of the same images.
        slots: the most boxes that suppression leaves in an image.
    """
    sizes = [target.size for target in targets]
    objects = [target.boxes * target.boxes.new_tensor([*target.size[::-1], *target.size[::-1]]) for target in targets]
    dense = candidates(output.scene.dense)
    every = detections_of(StagePredictions(dense.logits, dense.boxes), sizes)
    scores, labels = dense.logits.sigmoid().max(-1)
    made, undone = {}, {}
    for name, threshold in NMS.items():
        kept = [batched_nms(*one, threshold)[:slots] for one in zip(dense.boxes, scores, labels)]
        made[name] = [found[one] for found, one in zip(every, kept)]
        undone[f"{name}, errors undone"] = [
            found[_left(found, one, boxes, target)] for found, one, boxes, target in zip(every, kept, objects, targets)
        ]
    for name, sigma in SOFT_NMS.items():
        soft = suppress(output.scene.dense, threshold=0.0, soft_sigma=sigma, slots=slots)
        made[name] = detections_of(soft, sizes)
    made |= undone
    if len(output.stages) > 1 and output.stages[0].one_to_many:
        refined = averaged(output.stages[0], output.scene.proposals)
        for name, threshold in REFINED_NMS.items():
            made[name] = detections_of(suppress(refined, threshold=threshold, slots=slots), sizes)
    lists = {"the last stage": detections_of(output.stages[-1], sizes)}
    if output.scene.proposals.boxes.shape[1]:
        made["proposals"] = detections_of(output.scene.proposals, sizes)
        lists = {"the proposals": made["proposals"], **lists}
    for name, some in lists.items():
        made[f"best of {name}"] = [_best(*one) for one in zip(some, objects, targets)]
    return made


def table(compared: dict) -> str:
    """What `SuppressionComparison.compare` returns, as text."""
    rows, differences = compared["rows"], compared["differences"]
    wide = 2 + max(map(len, rows))
    *short, last = rows["decoder"]
    lines = [" " * wide + "".join(f"{name:>7}" for name in short) + f"  {CROWD_SCORES[last]}"]
    for name, scores in rows.items():
        *values, at_precision = map(shown, scores.values())
        lines.append(f"{name:<{wide}}" + "".join(f"{value:>7}" for value in values) + f"  {at_precision}")
    for one in differences:
        lines.append(
            f"decoder less {one['from']}, whose {one['measure']} is the best on these pictures: {one['measure']} "
            f"{one['difference']:+.3f} ({one['difference_low']:+.3f} to {one['difference_high']:+.3f})"
        )
    return "\n".join(lines)


def _scores(matches: Matches) -> dict[str, float]:
    ap = matches.average_precision()[0]
    return {
        "AP": float(ap.mean()), "AP50": float(ap[0]), "AP75": float(ap[5]), "AR100": matches.average_recall(),
        **crowd_scores(matches),
    }


def _left(found: Detections, kept: torch.Tensor, boxes: torch.Tensor, target: Target) -> torch.Tensor:
    arrays = (one.cpu().numpy() for one in (found.boxes, found.scores, found.labels, kept, boxes, target.labels))
    return torch.from_numpy(without_errors(*arrays)).to(kept.device)


def _best(found: Detections, boxes: torch.Tensor, target: Target) -> Detections:
    slots, objects, iou = (
        torch.from_numpy(part).to(boxes.device)
        for part in best_slots(found.boxes.cpu().numpy(), boxes.cpu().numpy())
    )
    return Detections(found.boxes[slots], iou, target.labels[objects], found.steps[slots])
