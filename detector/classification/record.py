"""The record of a run of the classification task: see `detector.runs.record`."""

from __future__ import annotations

from detector.classification.build import model_name
from detector.classification.data.dataset import ClassificationDataset
from detector.classification.evaluation.analysis import scores_of
from detector.classification.task import ClassificationTask
from detector.evaluation.analysis import rounded
from detector.runs.record import hashed, of_data, of_training


def run_record(
    task: ClassificationTask, dataset: ClassificationDataset, config: dict, split: str, trained: dict
) -> dict:
    """Everything about a trained and tested run; arguments as of `detector.runs.record.run_record`."""
    answers = task.answers
    assert answers  # tested
    read, names = {*answers.image_ids.tolist()}, dataset.class_names
    facts = ([one.image_id, one.name, names[one.label]] for one in dataset.records if one.image_id in read)
    return {
        **of_training(task, config, trained),
        **of_data(dataset, config, split, len(read), hashed(facts)),
        "task": "classification",
        "model": model_name(config),
        "reads": config["reads"]["_target_"].split(".")[-2],
        "steps": task.classifier.reads.steps,
        "metrics": rounded(scores_of(answers, dataset.class_names)),
    }
