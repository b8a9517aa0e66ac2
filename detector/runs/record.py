"""A run's record: the one small file under `results/` from which every published figure comes."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Collection
from importlib.metadata import distributions, version
from pathlib import Path

import lightning
import torch

import detector
from detector.build import decoder_name
from detector.data.dataset import DetectionDataset
from detector.evaluation.analysis import rounded
from detector.evaluation.coco_map import NAMES
from detector.evaluation.crowding import CROWD_SCORES, OVERLAPPING
from detector.training.task import Task

REPORTED = [*NAMES[:9], *CROWD_SCORES, "per_class"]
OVERLAPS = {"recall_apart": (0.0, 0.3), "recall_overlapping": OVERLAPPING}
"""Recall at IoU .5 of objects by their largest IoU with another of their class."""


def run_record(task: Task, dataset: DetectionDataset, config: dict, split: str, trained: dict) -> dict:
    """Everything about a trained and tested run.

    Args:
        task: after its test.
        dataset: the split it was tested on.
        config: of the training run, its data being that of the test.
        split: its name.
        trained: what the training run wrote to its `train.json`.
    """
    metric, matches, data = task.metrics["decoder"], task.matches["decoder"], config["data"]["dataset"]
    images, root = len(metric.rows), data.get("root") and Path(data["root"]).absolute().name
    return {
        "command": trained["command"],
        "options": trained["options"],
        "commit": trained["commit"],
        "seed": config["seed"],
        "train_only": config.get("train_only"),
        "initial": task.run.get("initial"),  # of the checkpoint that it started from, the hash of the file
        "machine": trained["machine"],
        "data": (root or type(dataset).__name__).lower(),
        "dataset": {"class": type(dataset).__name__, "root": root, "splits": data.get("splits"),
                    "fingerprint": fingerprint(dataset, metric.rows)},
        "split": split,
        "images": images,
        "untested": len(dataset) - images,  # they could not be read
        "train_images": trained["train_images"],
        "checkpoint": trained["checkpoint"],
        "decoder": decoder_name(config),
        "epochs": trained["epochs"],
        "train_seconds": trained["train_seconds"],
        "parameters": sum(p.numel() for p in task.detector.parameters()),
        "multiply_adds": trained["multiply_adds"],
        "peak_megabytes": trained["peak_megabytes"],
        "boxes_per_image": round(sum(map(len, metric.rows.values())) / max(1, images), 3),
        "objects_per_image": round(len(matches.object_labels) / max(1, images), 3),
        "crowding": rounded({
            row: {name: task.matches[row].recall(overlap=bounds)[0] for name, bounds in OVERLAPS.items()}
            for row in ("decoder", "dense_nms")
        }),
        "metrics": rounded({name: task.scores["decoder"][name] for name in REPORTED}),
        "reference": {
            "dense_nms": rounded({name: task.scores["dense_nms"][name] for name in REPORTED}),
            "nms_threshold": task.nms_threshold,
        },
    }


def machine(trainer: lightning.Trainer) -> dict:
    """What a run ran on."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = models[0] if models else processor
    cuda = torch.cuda.is_available() and trainer.strategy.root_device.type == "cuda"
    return {
        "processor": processor,
        "cores": torch.multiprocessing.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if cuda else "none",
        "precision": str(trainer.precision),
        "versions": {name: version(name) for name in ("torch", "torchvision", "lightning", "timm", "pycocotools")},
    }


def commit() -> str:
    """The commit of the repository that this package is in; `+` where the working tree differs from it.

    New files count, wherever in the repository, as any may change what runs; those that git ignores do not. A package
    that no repository holds has no commit: that is said, with its version.
    """
    def git(*words: str) -> str:
        folder = Path(detector.__file__).parent
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # or the repository is of something else
        changed = git("status", "--porcelain", "--untracked-files=normal")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        found = next((one.version for one in distributions(name="detector")), "(not installed)")
        return f"no git repository: detector {found}"


def fingerprint(dataset: DetectionDataset, image_ids: Collection[int]) -> str:
    """Of some images and their ground truth, wherever they lie: what has equal ones can be compared image by image."""
    digest = hashlib.sha256()
    for one in dataset.records:
        if one.image_id in image_ids:
            names = [dataset.class_names[label] for label in one.labels]
            arrays = [array.tolist() for array in (one.boxes, one.ignored, one.crowd, one.areas)]
            facts = [one.image_id, one.path.name, *one.size, names, *arrays]
            digest.update(json.dumps(facts, default=float).encode())  # a format's own numbers may be NumPy's
    return digest.hexdigest()[:16]
