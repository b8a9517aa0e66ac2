"""Gathering runs into a table."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.progress import track

from detector.build import is_classification
from detector.checkpoint import buildable, load_detector, read_checkpoint
from detector.classification.checkpoint import buildable_preprocessing, load_classifier
from detector.classification.classifier import Classifier
from detector.commands import classification, detection
from detector.commands.say_plainly import require_writable
from detector.data.image_dataset import ImageDataset, Unreadable
from detector.errors import InputError
from detector.runs import comparison_plots
from detector.runs.comparison import Run, gather, table
from detector.runs.comparison_table import markdown, write_csv
from detector.runs.cost import milliseconds

log = logging.getLogger(__name__)
TIMED_IMAGES = 16


def compare(config: DictConfig) -> None:
    """Write comparison.md, comparison.csv and plots of the runs under a folder."""
    if config.threads:
        torch.set_num_threads(config.threads)
    rows, left_out = gather(config.runs)
    for reason in left_out:
        log.warning("%s; left out", reason)
    folder = Path(config.output_dir)
    require_writable(folder, "output_dir")
    timed = _to_time(rows, config) if config.rounds else None  # what it refuses, before the work
    made = table(rows, baseline=config.baseline, resamples=config.resamples, seed=config.seed)
    if timed:
        times = milliseconds(*timed, rounds=config.rounds)
        for row in made:
            row["milliseconds"] = times[row["name"]]
    (folder / "comparison.md").write_text(markdown(made) + "\n")
    write_csv(made, folder / "comparison.csv")
    plots: dict[str, tuple] = {"epochs.png": (comparison_plots.epochs, rows), "cost.png": (comparison_plots.cost, made),
                               "crowding.png": (comparison_plots.crowding, rows)}
    for file in plots:
        (folder / file).unlink(missing_ok=True)
    plotted = [file for file, (plot, of) in plots.items() if plot(of, folder / file)]
    if folder != Path(config.runs):
        _keep_records(rows, folder / "records")
    print(markdown(made))
    print(f"{', '.join(['comparison.md', 'comparison.csv', *plotted])} are in {folder}")


def _keep_records(rows: dict[str, list[Run]], folder: Path) -> None:
    """The runs' own records beside a table that is kept apart from them: every figure in it comes from these.

    Those of a table made there before are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for before in folder.glob("*.json"):
        before.unlink()
    for name, runs in rows.items():
        for run in runs:
            file = re.sub(r"[^\w.=-]+", "_", f"{name} seed={run.record['seed']}")
            (folder / f"{file}.json").write_text(json.dumps(run.record, indent=1) + "\n")


def _to_time(rows: dict[str, list[Run]], config: DictConfig) -> tuple[dict, torch.Tensor] | None:
    """The network of the first run of each row, and test images of the first run of all; None where they do not take
    the same."""
    networks, images = {}, list[torch.Tensor]()
    for name, runs in track(rows.items(), description="loading"):
        run = runs[0]
        checkpoint = read_checkpoint(run.folder / "checkpoints" / run.record["checkpoint"])
        classifies = is_classification(checkpoint["run"]["config"])
        load = load_classifier if classifies else load_detector
        networks[name] = load(checkpoint, config.allow).to(config.device)
        if not images:
            data = {**buildable(checkpoint, "data", allow=config.allow), "augmentation": None}
            data["seed"], names = checkpoint["run"]["config"]["seed"], checkpoint["run"]["class_names"]
            if classifies:
                data |= buildable_preprocessing(checkpoint, config.allow)
            build = classification.build_datamodule if classifies else detection.build_datamodule
            test: ImageDataset = build(data, class_names=names).test
            samples = (test[(0, i)] for i in range(min(TIMED_IMAGES, len(test))))
            images = [sample.image for sample in samples if not isinstance(sample, Unreadable)]
    if not images:
        raise InputError("no test image could be read to time the runs on; rounds=0 leaves the timing out")
    if len({network.reads.shape for network in networks.values() if isinstance(network, Classifier)}) > 1:
        log.warning("the rows take images of different sizes or channels: none is timed")
        return None
    return networks, torch.stack(images).to(config.device)
