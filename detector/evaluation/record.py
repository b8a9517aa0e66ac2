"""A run's record: the one small file under `results/` from which every published figure comes."""

from __future__ import annotations

import json
import math
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import lightning
import torch

from detector.data.dataset import DetectionDataset
from detector.evaluation.coco_map import NAMES
from detector.task import Task

REPORTED = [*NAMES[:9], "per_class"]


def run_record(task: Task, dataset: DetectionDataset, config: dict, split: str, checkpoint: Path) -> dict:
    """Everything about a trained and tested run.

    Args:
        task: after its test.
        dataset: the split it was tested on.
        config: of the training run.
        split: its name.
        checkpoint: in a run directory, beside whose parent `train.json` lies.
    """
    trained = json.loads((checkpoint.parent.parent / "train.json").read_text())
    return {
        "command": trained["command"],
        "commit": trained["commit"],
        "seed": config["seed"],
        "machine": trained["machine"],
        "data": config["name"],
        "split": split,
        "images": len(dataset),
        "train_images": trained["images"],
        "decoder": config["decoder"]["_target_"].split(".")[-2],
        "epochs": trained["epochs"],
        "train_seconds": trained["train_seconds"],
        "parameters": sum(p.numel() for p in task.detector.parameters()),
        "metrics": rounded({name: task.scores["decoder"][name] for name in REPORTED}),
        "reference": {
            "dense_nms": rounded({name: task.scores["dense_nms"][name] for name in REPORTED}),
            "nms_threshold": task.reference.nms_threshold,
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
