"""Drawing what a detector finds in pictures."""

from __future__ import annotations

import json
import logging
from glob import glob
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.progress import track

from detector.data.dataset import IMAGE_ENDINGS, read_image
from detector.drawing import draw
from detector.errors import InputError
from detector.predictor import load

log = logging.getLogger(__name__)


def predict(config: DictConfig) -> None:
    """Draw what is found in pictures and write it as JSON."""
    if config.threads:
        torch.set_num_threads(config.threads)
    files = _pictures(config.source)
    predictor = load(config.checkpoint, device=config.device)
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    found, unreadable = [], 0
    for file in track(files, description="predicting"):
        try:
            detections = predictor.predict(file, threshold=config.threshold)
        except InputError as error:
            log.warning("%s; skipped", error)
            unreadable += 1
            continue
        draw(read_image(file), detections).save(folder / f"{file.stem}.png")
        found.append({
            "file": str(file),
            "detections": [
                {"box": [round(v, 2) for v in box], "score": round(score, 4), "class": name, "step": step + 1}
                for box, score, name, step in zip(
                    detections.boxes.tolist(), detections.scores.tolist(), detections.names, detections.steps.tolist()
                )
            ],
        })
    (folder / "predictions.json").write_text(json.dumps(found, indent=1))
    skipped = f", {unreadable} unreadable skipped" if unreadable else ""
    print(f"{len(found)} pictures{skipped}; drawn pictures and predictions.json are in {folder}")


def _pictures(source: str) -> list[Path]:
    if Path(source).is_dir():
        files = sorted(p for p in Path(source).iterdir() if p.suffix.lower() in IMAGE_ENDINGS)
    else:
        files = [Path(name) for name in sorted(glob(source, recursive=True))]
    if not files:
        raise InputError(f"no pictures at {source!r}; give a picture, a folder that holds some, or a pattern in quotes")
    return files
