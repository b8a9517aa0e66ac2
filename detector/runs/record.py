"""A run's record: the one small file under `results/` from which every published figure comes."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Collection, Iterable
from importlib.metadata import distributions, version
from pathlib import Path

import lightning
import torch

import detector
from detector.build import decoder_name
from detector.data.dataset import DetectionDataset
from detector.data.image_dataset import ImageDataset
from detector.evaluation.analysis import rounded
from detector.evaluation.coco_map import NAMES
from detector.evaluation.crowding import CROWD_SCORES, OVERLAPPING
from detector.training.base_task import BaseTask
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
    metric, matches = task.metrics["decoder"], task.matches["decoder"]
    images = len(metric.rows)
    return {
        **of_training(task, config, trained),
        "train_only": config.get("train_only"),
        **of_data(dataset, config, split, images, fingerprint(dataset, metric.rows)),
        "decoder": decoder_name(config),
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


def of_training(task: BaseTask, config: dict, trained: dict) -> dict:
    """What a record tells of a run's training; arguments as of `run_record`."""
    return {
        **{key: trained[key] for key in ("command", "options", "commit", "machine", "train_images", "checkpoint",
                                         "epochs", "train_seconds", "multiply_adds", "peak_megabytes")},
        "seed": config["seed"],
        "initial": task.run.get("initial"),  # of the checkpoint that it started from, the hash of the file
        "parameters": sum(p.numel() for p in task.network.parameters()),
    }


def of_data(dataset: ImageDataset, config: dict, split: str, images: int, fingerprint: str) -> dict:
    """What a record tells of the images that a run was tested on.

    Args:
        dataset: the split.
        config: of the run, its data being that of the test.
        split: its name.
        images: how many could be read.
        fingerprint: of those and their ground truth.
    """
    data = config["data"]["dataset"]
    root = data.get("root") and Path(data["root"]).absolute().name
    return {
        "data": (root or type(dataset).__name__).lower(),
        "dataset": {"class": type(dataset).__name__, "root": root, "splits": data.get("splits"),
                    "fingerprint": fingerprint},
        "split": split,
        "images": images,
        "untested": len(dataset) - images,  # they could not be read
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
    facts = []
    for one in dataset.records:
        if one.image_id in image_ids:
            names = [dataset.class_names[label] for label in one.labels]
            arrays = [array.tolist() for array in (one.boxes, one.ignored, one.crowd, one.areas)]
            facts.append([one.image_id, one.path.name, *one.size, names, *arrays])
    return hashed(facts)


def hashed(facts: Iterable[list]) -> str:
    """Of what is to be told of images, one after the other."""
    digest = hashlib.sha256()
    for one in facts:
        digest.update(json.dumps(one, default=float).encode())  # a format's own numbers may be NumPy's
    return digest.hexdigest()[:16]
