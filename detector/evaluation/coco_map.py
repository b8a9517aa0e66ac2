"""COCO mean average precision in original image pixels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from detector.data.annotations import Record
from detector.data.dataset import DetectionDataset
from detector.detections import Detections
from detector.errors import InputError

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
MEANINGS = [
    "AP   mean over IoU .50:.95", "AP50 at IoU .50", "AP75 at IoU .75", "APs  area < 32²", "APm  32² to 96²",
    "APl  area > 96²", "AR   1 detection", "AR   10 detections", "AR   100 detections", "ARs  area < 32²",
    "ARm  32² to 96²", "ARl  area > 96²",
]
BACKENDS = ("pycocotools", "faster_coco_eval")
BEYOND_EVERY_AREA = 1e12
"""COCO's rule leaves objects outside an area range uncounted; this one is outside all of them."""


class CocoMAP:
    """Gathers detections and scores them against the ground truth.

    Only images that were given to `update` count. Ignored objects (VOC's `difficult`) are neither missed nor false
    positives; crowd regions take up any number of detections, as the COCO protocol says.

    Args:
        dataset: holds the ground truth.
        backend: `pycocotools`, the reference, or `faster_coco_eval`, the same numbers sooner.
        max_detections: the best so many of an image and class count, but for AR1 and AR10. COCO's 100 is too few for
            pictures with more objects of a class than that.
    """

    def __init__(self, dataset: DetectionDataset, *, backend: str = "pycocotools", max_detections: int = 100):
        check_backend(backend)
        self.max_detections = max_detections
        self.class_names, self.category_ids, self.backend = dataset.class_names, dataset.category_ids, backend
        self.ground_truth = _ground_truth(dataset.records, dataset.class_names, dataset.category_ids)
        self.objects = sum(not a["iscrowd"] and a["area"] < BEYOND_EVERY_AREA for a in self.ground_truth["annotations"])
        self.reset()

    def reset(self) -> None:
        self.rows: dict[int, Float[np.ndarray, "N 8"]] = {}
        """By image: its id, x, y, width, height, score, category, step."""

    def update(self, image_ids: Sequence[int], detections: Sequence[Detections]) -> None:
        """Add the detections of some images."""
        categories = np.array(self.category_ids, dtype=np.float64)
        for image_id, found in zip(image_ids, detections):
            boxes = found.boxes.double().cpu().numpy()
            self.rows[int(image_id)] = np.column_stack([
                np.full(len(found), image_id), boxes[:, :2], boxes[:, 2:] - boxes[:, :2],
                found.scores.double().cpu().numpy(), categories[found.labels.cpu().numpy()], found.steps.cpu().numpy(),
            ])

    def gather(self) -> None:
        """Share what every process has seen with all of them."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares: list[dict] = [{} for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(shares, self.rows)
            self.rows = {image_id: rows for share in shares for image_id, rows in share.items()}
    
    def results(self) -> list[dict]:
        """The detections in COCO's result format."""
        return [
            {"image_id": int(row[0]), "category_id": int(row[6]), "bbox": [round(float(v), 2) for v in row[1:5]],
             "score": round(float(row[5]), 5)}
            for image_id in sorted(self.rows) for row in self.rows[image_id]
        ]

    def compute(self) -> dict:
        """The twelve numbers, the same a class, and the curves.

        Returns:
            `NAMES` to values (nan where there is no such object); `per_class` a dict by class name of AP, AP50, AP75,
            AR and the number of objects; `precision` by class name, at IoU .5 and recalls 0, .01, … 1.
        """
        seen = sorted(self.rows)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = self._prepare(self.all_rows()[:, :7], seen)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
        counted = self._counted(set(seen))
        per_class, curves = {}, {}
        for k, name in enumerate(self.class_names):
            column = self._order.index(self.category_ids[k])
            at = precision[:, :, column, 0, -1]
            per_class[name] = {
                "AP": _mean(at), "AP50": _mean(at[0]), "AP75": _mean(at[5]), "AR": _mean(recall[:, column, 0, -1]),
                "objects": counted[k],
            }
            curves[name] = at[0].tolist()
        stats = [float(value) if value >= 0 else float("nan") for value in evaluation.stats[:12]]
        stats[0] = _mean(precision[:, :, :, 0, -1])  # pycocotools knows it for 100 detections alone
        return {**dict(zip(NAMES, stats)), "per_class": per_class, "precision": curves}

    def detections(self, image_id: int) -> Detections:
        """What was found in an image that was given to `update`, in double precision."""
        rows = torch.from_numpy(self.rows[image_id])
        labels = [self.category_ids.index(number) for number in rows[:, 6].int().tolist()]
        return Detections(
            torch.cat([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:5]], 1), rows[:, 5],
            torch.tensor(labels, dtype=torch.int64), rows[:, 7].long(), [self.class_names[label] for label in labels],
        )

    def all_rows(self) -> Float[np.ndarray, "D 8"]:
        """The detections of all images, in the order of image ids."""
        return np.concatenate([np.zeros((0, 8)), *(self.rows[i] for i in sorted(self.rows))])

    def _prepare(self, rows: np.ndarray, seen: list[int]):
        if self.backend == "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        else:
            from faster_coco_eval import COCO
            from faster_coco_eval import COCOeval_faster as COCOeval
        ground_truth = COCO()
        ground_truth.dataset = self.ground_truth
        ground_truth.createIndex()
        if len(rows):
            found = ground_truth.loadRes(rows)
        else:  # loadRes refuses an empty result
            found = COCO()
            found.dataset = {**self.ground_truth, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(ground_truth, found, iouType="bbox")
        evaluation.params.imgIds = seen
        evaluation.params.maxDets = [1, 10, self.max_detections]
        self._order = sorted(self.category_ids)
        evaluation.params.catIds = self._order
        return evaluation

    def _counted(self, seen: set[int]) -> list[int]:
        counts = dict.fromkeys(self.category_ids, 0)
        for annotation in self.ground_truth["annotations"]:
            if annotation["image_id"] in seen and not annotation["iscrowd"] and annotation["area"] < BEYOND_EVERY_AREA:
                counts[annotation["category_id"]] += 1
        return list(counts.values())


def check_backend(backend: str) -> None:
    """Raise `InputError` where there is no such backend."""
    if backend not in BACKENDS:
        raise InputError(f"metric_backend is {backend!r}; there are {', '.join(BACKENDS)}")


def table(metrics: dict, title: str, others: dict[str, str]) -> str:
    """The twelve numbers, others by name and meaning, and a line a class, as text."""
    meanings = {**dict(zip(NAMES, MEANINGS)), **others}
    wide = 2 + max(map(len, meanings.values()))
    lines = [title] + [f"  {meaning:<{wide}}{metrics[name]:.3f}" for name, meaning in meanings.items()]
    width = max(len(name) for name in metrics["per_class"])
    lines.append(f"  {'class':<{width}}  {'AP':>6} {'AP50':>6} {'AP75':>6} {'AR':>6} {'objects':>8}")
    for name, row in metrics["per_class"].items():
        values = " ".join(f"{row[key]:6.3f}" for key in ("AP", "AP50", "AP75", "AR"))
        lines.append(f"  {name:<{width}}  {values} {row['objects']:8d}")
    return "\n".join(lines)


def _ground_truth(records: Iterable[Record], class_names: list[str], category_ids: list[int]) -> dict:
    images, annotations = [], list[dict]()
    for record in records:
        images.append({"id": record.image_id, "height": record.size[0], "width": record.size[1]})
        for box, label, ignored, crowd, area in zip(
            record.boxes, record.labels, record.ignored, record.crowd, record.areas
        ):
            x1, y1, x2, y2 = box.tolist()
            annotations.append({
                "id": len(annotations) + 1, "image_id": record.image_id, "category_id": category_ids[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(crowd),
                "area": BEYOND_EVERY_AREA if ignored and not crowd else float(area),
            })
    categories = [{"id": number, "name": name} for number, name in zip(category_ids, class_names)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def _mean(values: np.ndarray) -> float:
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else float("nan")
