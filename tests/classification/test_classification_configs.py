"""Every file of conf/ that is of the classification task composes, builds and trains a step."""

import pytest
import torch
from scenes import CONF, OFFLINE, classification_experiments, data_of, data_overrides, run_config

from detector.build import instantiate
from detector.classification.build import build_classifier, build_datamodule, build_task, measure
from detector.errors import InputError


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def offline(options: list[str]) -> list[str]:
    """Where a CNN reads."""
    return OFFLINE if any("cnn_rows" in option for option in options) else []


def networks() -> list[tuple[str, str, str]]:
    """Every way of reading with every model, and every preprocessing once."""
    pairs = [(reads, model, "grey") for reads in choices("reads") for model in choices("model")]
    return [*pairs, *(("rows", "row_lstm", one) for one in choices("preprocessing")), ("cnn_rows", "row_lstm", "rgb")]


@pytest.mark.parametrize("reads, model, preprocessing", networks())
def test_every_reading_model_and_preprocessing(reads, model, preprocessing, tmp_path):
    options = [f"reads={reads}", f"model={model}", f"preprocessing={preprocessing}", "model.hidden_size=8"]
    canvas = "data.canvas=[64,32]" if reads == "cnn_rows" else "data.canvas=[8,6]"
    run = run_config(tmp_path, "experiment=digits", *options, canvas, *offline(options))
    classifier = build_classifier(run, 5)
    channels, height, width = classifier.reads.shape
    assert channels == (1 if preprocessing == "grey" else 3)
    logits = classifier(torch.rand(3, channels, height, width))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 4])).backward()
    without = [name for name, p in classifier.named_parameters() if p.requires_grad and p.grad is None]
    assert logits.shape == (3, 5) and not without
    classifier.eval()
    images = torch.rand(2, channels, height, width)
    with torch.no_grad():
        torch.testing.assert_close(classifier.beliefs(images)[:, -1], classifier(images))


@pytest.mark.parametrize("data", [f"classification/{one}" for one in choices("data/classification")])
def test_every_data_config(data, tmp_path):
    run = run_config(tmp_path, "experiment=digits", f"data={data}", *data_overrides(data, tmp_path))
    module = build_datamodule(run)
    batch, reasons = next(iter(module.train_dataloader()))
    width, height = run["data"]["canvas"]
    assert not reasons and len(batch) > 0 and batch.images.shape[1:] == (1, height, width)
    assert 0 <= batch.images.min() <= batch.images.max() <= 1
    assert len(module.val) > 0 < len(module.test)


@pytest.mark.parametrize("augmentation", choices("augmentation/classification"))
def test_every_augmentation(augmentation, tmp_path):
    run = run_config(tmp_path, "experiment=digits", f"augmentation=classification/{augmentation}")
    train = build_datamodule(run).train
    for index in range(4):
        assert torch.equal(train[(1, index)].image, train[(1, index)].image)
    changed = any(not torch.equal(train[(0, index)].image, train[(1, index)].image) for index in range(8))
    assert changed == (augmentation != "none")


def test_images_are_standardised_by_those_of_training(tmp_path):
    options = ["experiment=bccd_cells", "reads=rows", *data_overrides("classification/bccd_cells", tmp_path)]
    run = run_config(tmp_path, *options, "augmentation=classification/none")
    data = build_datamodule(run)
    classifier = build_task(run, data.class_names).classifier
    measure(classifier, data.train)
    images = torch.stack([data.train[(0, index)].image for index in range(len(data.train))])
    rows = classifier.sequence(images).reshape(len(images), 32, 3, 32)
    torch.testing.assert_close(rows.mean((0, 1, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.std((0, 1, 3)), torch.ones(3), atol=1e-4, rtol=0)
    assert {"mean", "std"} <= {name for name, _ in classifier.named_buffers()}  # in the checkpoint
    of_cnn = build_classifier(run_config(tmp_path, *options, "reads=cnn_rows", *OFFLINE), 2)
    assert not of_cnn.standardised  # the CNN does so by itself


@pytest.mark.parametrize("loss", choices("loss/classification"))
def test_every_loss_prefers_the_true_class(loss, tmp_path):
    criterion = instantiate(run_config(tmp_path, "experiment=digits", f"loss=classification/{loss}")["loss"])
    right, wrong = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 3.0, 0.0]])
    assert criterion(right, torch.tensor([0])) < criterion(wrong, torch.tensor([0]))


def test_label_smoothing_is_an_option(tmp_path):
    run = run_config(tmp_path, "experiment=digits", "loss.label_smoothing=0.1")
    assert instantiate(run["loss"]).label_smoothing == 0.1


@pytest.mark.parametrize("optimizer", choices("optimizer"))
@pytest.mark.parametrize("loss", choices("loss/classification"))
def test_every_optimizer_with_every_loss(optimizer, loss, tmp_path):
    run = run_config(tmp_path, "experiment=digits", f"optimizer={optimizer}", f"loss=classification/{loss}")
    assert build_task(run, [str(number) for number in range(10)]).make_optimizer


@pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short
@pytest.mark.parametrize("experiment", classification_experiments())
def test_every_experiment_runs_a_step(experiment, tmp_path):
    options = [f"experiment={experiment}", *data_overrides(data_of(experiment), tmp_path)]
    run = run_config(tmp_path, *options)
    if "backbone" in run["reads"]:
        options += OFFLINE
    run = run_config(
        tmp_path, *options, "+trainer.fast_dev_run=1", "~callbacks", "~logger", "trainer.accelerator=cpu",
    )
    data = build_datamodule(run)
    task = build_task(run, data.class_names)
    trainer = instantiate(run["trainer"])
    trainer.fit(task, datamodule=data)
    assert trainer.callback_metrics["train/loss"].isfinite()
    assert 0 <= trainer.callback_metrics["val/accuracy"] <= 1


@pytest.mark.parametrize("loss, words", [
    ({"_target_": "torch.nn.BCEWithLogitsLoss"}, "BCEWithLogitsLoss cannot be computed from logits .images × classes."),
    ({"_target_": "torch.nn.CrossEntropyLoss", "reduction": "none"}, "it gives .2,., not a number"),
    ({"class": 1}, "loss is one of detection; give loss=classification/cross_entropy"),
])
def test_losses_that_do_not_fit_the_labels_are_refused(loss, words, tmp_path):
    run = run_config(tmp_path, "experiment=digits")
    with pytest.raises(InputError, match=words):
        build_task({**run, "loss": loss}, ["a", "b", "c"])
