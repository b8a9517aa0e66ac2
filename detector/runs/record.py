"""A run's record: the one small file under `results/` from which every published figure comes."""

from __future__ import annotations

import math
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import lightning
import torch

from detector.build import decoder_name
from detector.data.dataset import DetectionDataset
from detector.evaluation.coco_map import NAMES
from detector.training.task import Task

REPORTED = [*NAMES[:9], "per_class"]
OVERLAPS = {"recall_apart": (0.0, 0.3), "recall_overlapping": (0.3, 1.01)}
"""Recall at IoU .5 of objects by their largest IoU with another of their class."""


def run_record(task: Task, dataset: DetectionDataset, config: dict, split: str, trained: dict) -> dict:
    """Everything about a trained and tested run.

    Args:
        task: after its test.
        dataset: the split it was tested on.
        config: of the training run.
        split: its name.
        trained: what the training run wrote to its `train.json`.
    """
    return {
        "command": trained["command"],
        "options": trained["options"],
        "commit": trained["commit"],
        "seed": config["seed"],
        "machine": trained["machine"],
        "data": config["name"],
        "split": split,
        "images": len(dataset),
        "train_images": trained["train_images"],
        "checkpoint": trained["checkpoint"],
        "decoder": decoder_name(config),
        "epochs": trained["epochs"],
        "train_seconds": trained["train_seconds"],
        "parameters": sum(p.numel() for p in task.detector.parameters()),
        "multiply_adds": trained["multiply_adds"],
        "peak_megabytes": trained["peak_megabytes"],
        "boxes_per_image": round(sum(map(len, task.metrics["decoder"].rows.values())) / max(1, len(dataset)), 3),
        "objects_per_image": round(task.metrics["decoder"].objects / max(1, len(dataset)), 3),
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
    """The commit of the working tree; `+` where it has changes on top."""
    try:
        name = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
        return name.stdout.strip() + ("+" if changed.stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def rounded(value):
    """Floats to five places and nan to null, through dicts and lists."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 5)
    return value
