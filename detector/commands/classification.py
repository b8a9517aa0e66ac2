"""What the commands do where the task is classification."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import lightning
import numpy as np
from PIL import Image

from detector.build import is_classification
from detector.classification.build import build_datamodule, build_task, measure, model_name
from detector.classification.checkpoint import load_weights
from detector.classification.data.dataset import ClassificationDataset
from detector.classification.evaluation.analysis import PICTURES, analyse
from detector.classification.evaluation.answers import Answers
from detector.classification.evaluation.report import surest_and_most_wrong, write_report
from detector.classification.namer import Namer
from detector.classification.pictures.captioned import captioned
from detector.classification.pictures.reading_picture import reading_picture
from detector.classification.record import run_record
from detector.classification.task import ClassificationTask
from detector.data.datamodule import DataModule
from detector.errors import InputError
from detector.evaluation.analysis import rounded, write_tables

log = logging.getLogger(__name__)
__all__ = ["build_datamodule", "choose", "draw_some", "fitting", "load_weights", "name_of", "prepare", "run_record",
           "started", "test", "validated"]
MONITORED, BEST = "val/accuracy", "best_val_accuracy"
"""What the best checkpoint is chosen by, and what it is called in train.json."""
OF_DETECTION = (
    "neck", "proposals", "matcher", "decoder", "hidden_size", "slots", "intermediate", "candidates", "new_decoder",
    "train_only", "cache", "metric_backend", "max_detections", "nms_threshold", "tune_nms",
)
"""Options that do nothing here."""
EXAMPLES = 6
"""Images of a kind in a report."""
name_of = model_name


def prepare(run: dict, typed: list[str]) -> None:
    """Refuse options of detection, and leave them out of the run."""
    if not (run.get("preprocessing") and run.get("reads")):
        raise InputError(f"{name_of(run)} is of the classification task; give one of its experiments too, such as "
                         "experiment=digits")
    for option in typed:
        group = option.lstrip("+~").partition("=")[0].partition(".")[0].partition("@")[0]
        if group in OF_DETECTION:
            own = " (model.hidden_size is the classifier's)" if group == "hidden_size" else ""
            raise InputError(f"{option} is of detection and does nothing in {run['name']}{own}; leave it out")
        if group == "backbone" and "backbone" not in run["reads"]:
            raise InputError(f"{option} does nothing without a CNN; give reads=cnn_rows too, or leave it out")
    data = str(run["data"]["dataset"].get("_target_"))
    if data.startswith("detector.") and not data.startswith("detector.classification."):
        chosen = next((option for option in typed if option.startswith("data=")), "data")
        raise InputError(f"{chosen} is of detection; give data=classification/digits, or another of that folder")
    if "min_visibility" in (run["augmentation"] or {}):
        raise InputError("augmentation is one of detection; give augmentation=classification/shift, or another of that "
                         "folder")
    for name in OF_DETECTION:
        run.pop(name, None)


def started(run: dict, data: DataModule, checkpoint: dict | None) -> ClassificationTask:
    """What is trained, with the weights of the checkpoint from which a run goes on or starts."""
    class_names = data.class_names
    if checkpoint is None:
        task = build_task(run, class_names)
        measure(task.classifier, data.train)
        return task
    reads = run["reads"]
    if "backbone" in reads:  # whose weights the checkpoint brings
        reads = {**reads, "backbone": {**reads["backbone"], "weights": None}}
    task = build_task({**run, "reads": reads}, class_names)
    task.run["config"] = run
    file = run["checkpoint"] or run["initial"]
    if not is_classification(checkpoint["run"]["config"]):
        raise InputError(f"{file} is a detector, {run['name']} is classification; give a checkpoint of such a run")
    if (theirs := checkpoint["run"]["class_names"]) != class_names:
        raise InputError(f"{file} knows the classes {', '.join(theirs)}, the data {', '.join(class_names)}; give the "
                         "data of its run")
    load_weights(task, checkpoint)
    if run["checkpoint"]:
        task.run["initial"] = checkpoint["run"].get("initial")
    else:
        task.run["initial"] = hashlib.sha256(Path(run["initial"]).read_bytes()).hexdigest()[:16]
    return task


def fitting(
    run: dict, data: DataModule, task: ClassificationTask, trainer: lightning.Trainer
) -> AbstractContextManager:
    """Nothing surrounds the training."""
    return nullcontext()


def validated(task: ClassificationTask) -> bool:
    """Whether there were validation images that could tell which weights are best."""
    return task.answers is not None


def choose(run: dict, data: DataModule, task: ClassificationTask) -> None:
    """Nothing is chosen on validation images but the checkpoint."""


def test(
    task: ClassificationTask, dataset: ClassificationDataset, loader, trainer: lightning.Trainer, folder: Path, *,
    title: str,
) -> None:
    """Test, print the scores, and write metrics, answers, the analysis and the report to `folder`."""
    trainer.test(task, dataloaders=loader, verbose=False)
    if not trainer.is_global_zero:
        return
    answers = task.answers
    assert answers  # tested
    tables = analyse(answers, dataset.class_names)
    scores = {row["score"]: row for row in tables["scores"]}
    print(f"{len(answers.labels)} images, " + ", ".join(
        f"{name} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for name, row in scores.items()
        if "accuracy" in name
    ))
    metrics = {
        name.replace(" ", "_"): {key: row[key] for key in ("value", "low", "high")} for name, row in scores.items()
    }
    (folder / "metrics.json").write_text(json.dumps(rounded(metrics), indent=2))
    (folder / "predictions.json").write_text(json.dumps(_rows(answers, dataset), indent=1))
    answers.save(folder / "answers.npz")
    write_tables(tables, folder / "analysis", PICTURES)
    reads = task.classifier.reads
    facts = {
        "images": len(answers.labels), "model": type(task.classifier.model).__name__,
        "reads": f"{type(reads).__name__}: {reads.steps} steps of {reads.features} features",
        "parameters": f"{sum(p.numel() for p in task.classifier.parameters()):,}",
    }
    write_report(
        folder / "report.html", title=title, facts=facts, tables=tables, folder=folder / "analysis",
        examples=_examples(answers, dataset),
    )
    if task.skipped:
        print(f"{len(task.skipped)} problem(s) with samples, named above and in the log")
    print(f"metrics.json, predictions.json, analysis/ and report.html are in {folder}")


def _rows(answers: Answers, dataset: ClassificationDataset) -> list[dict]:
    by_id = {one.image_id: one for one in dataset.records}
    names = dataset.class_names
    return [
        {"image": by_id[image_id].name, "class": names[label], "predicted": names[int(row.argmax())],
         "probabilities": {name: round(float(value), 4) for name, value in zip(names, row)}}
        for image_id, label, row in zip(answers.image_ids.tolist(), answers.labels.tolist(), answers.probabilities)
    ]


def _examples(answers: Answers, dataset: ClassificationDataset) -> list[tuple[str, list[Image.Image]]]:
    """What the classifier is surest and most wrong about, drawn."""
    by_id = {one.image_id: one for one in dataset.records}
    names, made = dataset.class_names, []
    for heading, indices in surest_and_most_wrong(answers, EXAMPLES).items():
        pictures = []
        for index in indices:
            row = answers.probabilities[index]
            text = f"true: {names[answers.labels[index]]}\npredicted: {names[int(row.argmax())]}, {row.max():.2f}"
            pictures.append(captioned(dataset.read(by_id[int(answers.image_ids[index])]), text))
        made.append((heading, pictures))
    return made


def draw_some(task: ClassificationTask, dataset: ClassificationDataset, folder: Path, count: int) -> None:
    """Draw what is believed of some images as they are read, evenly from the data set."""
    namer = Namer(task.classifier, class_names=dataset.class_names, preprocessing=dataset.transform)
    places = task.classifier.reads.places.cpu()
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int).tolist():
        record = dataset.records[index]
        try:
            image = dataset.read(record)
        except InputError:
            continue  # named when it was tested
        picture = reading_picture(namer.as_given(image), namer.predict(image), places)
        picture.save(folder / f"test_{record.image_id}.png")
    print(f"pictures are in {folder}")
