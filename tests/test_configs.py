"""Every file of every config group composes, builds and keeps its contract; new files are picked up by themselves."""

import pytest
import torch
from scenes import CONF, OFFLINE, classification_experiments, data_of, data_overrides, run_config

from detector.build import build_datamodule, build_detector, build_losses, build_task, instantiate
from detector.errors import InputError
from detector.losses.fcos_loss import FCOSLoss
from detector.types import Batch, Predictions, Scene, StagePredictions, Target

OTHERS = classification_experiments()


def choices(group: str) -> list[str]:
    """Those of detection; the others have tests of their own (tests/classification/test_classification_configs.py)."""
    found = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    return [one for one in found if one not in OTHERS] if group == "experiment" else found


def batch(classes: int, objects: tuple[int, ...] = (3, 0, 5)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(objects), 3, 96, 128), dtype=torch.uint8, generator=generator)
    targets = []
    for number, count in enumerate(objects):
        low = torch.rand(count, 2, generator=generator) * 0.6
        side = 0.1 + 0.3 * torch.rand(count, 2, generator=generator)
        labels = torch.randint(0, classes, (count,), generator=generator)
        targets.append(Target(torch.cat([low, low + side], 1), labels, number, (96, 128)))
    return Batch(images, targets)


def part(scene: Scene, image: int) -> Scene:
    """The scene of one image."""
    one = slice(image, image + 1)
    return Scene(
        [level[one] for level in scene.pyramid], Predictions(scene.dense.logits[one], scene.dense.boxes[one]),
        scene.locations, StagePredictions(
            scene.proposals.logits[one], scene.proposals.boxes[one], valid=scene.proposals.valid[one]
        ), scene.canvas,
    )


def network_cases() -> list[str]:
    groups = ("backbone", "neck", "proposals", "decoder")
    single = [f"{group}={choice}" for group in groups for choice in choices(group)]
    finer = [f"neck.finest_stride=4 decoder={decoder}" for decoder in ("lstm_pointer", "lstm_grid")]
    both = "neck.finest_stride=4 proposals.finest_stride=4"
    finest = [f"{both} decoder={name}" for name in ("lstm", "lstm_attention", "dense")]
    refined = [f"intermediate=true decoder={name}" for name in ("lstm", "gru", "mlp", "transformer")]
    return single + finer + finest + refined


@pytest.mark.parametrize("decoder", ["dense", "lstm_attention", "lstm", "transformer"])
def test_levels_that_nobody_would_read(decoder, tmp_path):
    config = run_config(tmp_path, "neck.finest_stride=4", f"decoder={decoder}", *OFFLINE)
    with pytest.raises(InputError, match="makes 1 level.s. finer than the dense head's, and this decoder looks only"):
        build_detector(config, num_classes=4)(batch(4).images)


@pytest.mark.parametrize("overrides", network_cases())
def test_every_network_part(overrides, tmp_path):
    config = run_config(tmp_path, *overrides.split(), *OFFLINE)
    torch.manual_seed(0)
    detector = build_detector(config, num_classes=4)
    data = batch(4)
    output = detector(data.images, data.targets)
    locations = len(output.scene.locations.centres)
    assert output.dense.logits.shape == (3, locations, 4) and output.dense.boxes.shape == (3, locations, 4)

    set_loss, dense_loss = build_losses(config)
    terms = {**set_loss(output.stages, data.targets), **dense_loss(output.dense, output.scene.locations, data.targets)}
    torch.stack(list(terms.values())).sum().backward()
    without = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)

    detector.eval()
    with torch.no_grad():
        together, alone = detector(data.images), detector(data.images[1:2])
    assert together.stages
    for stage in together.stages:
        images, slots, classes = stage.logits.shape
        assert images == 3 and 0 < slots and classes == 4 and stage.boxes.shape == (3, slots, 4)
        assert stage.logits.isfinite().all() and stage.boxes.isfinite().all()
        assert stage.valid is None or stage.valid.shape == (3, slots)
    # orders of proposals may differ where scores tie within rounding, so the dense head is compared, then the decoder
    torch.testing.assert_close(together.dense.logits[1:2], alone.dense.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.dense.boxes[1:2], alone.dense.boxes, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        rows = detector.decoder(together.scene)
        row = detector.decoder(part(together.scene, 1))
    for many, one in zip(rows, row, strict=True):
        steps = one.logits.shape[1]  # a decoder that stops by itself goes on while any image of the batch does
        torch.testing.assert_close(many.logits[1:2, :steps], one.logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(many.boxes[1:2, :steps], one.boxes, atol=1e-5, rtol=1e-4)
        if one.valid is not None:
            assert torch.equal(many.valid[1:2, :steps], one.valid) and not many.valid[1, steps:].any()


@pytest.mark.parametrize("decoder", choices("decoder"))
@pytest.mark.parametrize("objects", [(0, 0), (30, 1)], ids=["none", "more-than-slots"])
def test_every_decoder_trains_on_any_number_of_objects(decoder, objects, tmp_path):
    config = run_config(tmp_path, f"decoder={decoder}", *OFFLINE, "slots=12")
    torch.manual_seed(0)
    detector = build_detector(config, num_classes=4)
    data = batch(4, objects)
    output = detector(data.images, data.targets)
    set_loss, dense_loss = build_losses(config)
    terms = {**set_loss(output.stages, data.targets), **dense_loss(output.dense, output.scene.locations, data.targets)}
    assert all(term.isfinite() and term >= 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()


@pytest.mark.parametrize("override", [f"{g}={c}" for g in ("loss", "matcher", "proposals") for c in choices(g)])
@pytest.mark.parametrize("objects", [(3, 0, 5), (0, 0), (40,)], ids=["some", "none", "more-than-slots"])
def test_every_loss_matcher_and_proposal_head(override, objects, tmp_path):
    config = run_config(tmp_path, override, *OFFLINE, "slots=20")
    torch.manual_seed(0)
    detector = build_detector(config, num_classes=4)
    data = batch(4, objects)
    output = detector(data.images)
    set_loss, dense_loss = build_losses(config)
    for assignment, target in zip(set_loss.matcher(output.stages[-1], data.targets), data.targets):
        assert len(set(assignment.slots.tolist())) == len(assignment.slots) == len(assignment.objects)
        if assignment.quality is None:  # one-to-one
            assert len(assignment.slots) == min(20, len(target.labels))
            assert len(set(assignment.objects.tolist())) == len(assignment.objects)
    terms = {**set_loss(output.stages, data.targets), **dense_loss(output.dense, output.scene.locations, data.targets)}
    assert all(term.isfinite() and term >= 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()


@pytest.mark.parametrize("override", [f"{g}={c}" for g in ("loss", "experiment") for c in choices(g)])
def test_fcos_has_its_own_loss_beside_any_other(override, tmp_path):
    words = [override, "data.dataset.root=folder"] if override == "experiment=folder" else [override]
    config, without = (run_config(tmp_path, *words, *more) for more in (["proposals=fcos"], []))
    assert isinstance(build_losses(config)[1], FCOSLoss)
    assert {**config, "proposals": 0, "loss": 0} == {**without, "proposals": 0, "loss": 0}
    assert {**without["loss"], "proposals": config["loss"]["proposals"]} == config["loss"]


@pytest.mark.parametrize("optimizer", choices("optimizer"))
@pytest.mark.parametrize("schedule", choices("schedule"))
def test_every_optimizer_and_schedule(optimizer, schedule, tmp_path):
    config = run_config(tmp_path, f"optimizer={optimizer}", f"schedule={schedule}")
    weight = torch.nn.Parameter(torch.ones(3))
    made = instantiate(config["optimizer"], _partial_=True)([{"params": [weight], "lr": 0.1}])
    planned = instantiate(config["schedule"], _partial_=True)(made, total_steps=40)
    rates = []
    for _ in range(40):
        made.zero_grad()
        (weight**2).sum().backward()
        made.step()
        rates.append(made.param_groups[0]["lr"])
        planned.step()
    assert (weight.abs() < 1).all()
    peak = max(range(40), key=rates.__getitem__)
    assert rates[peak] == pytest.approx(0.1, rel=0.05) and rates[0] <= rates[peak] and rates[-1] < 0.03 * rates[peak]
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize("augmentation", choices("augmentation"))
def test_every_augmentation(augmentation, tmp_path):
    data = build_datamodule(run_config(tmp_path, f"augmentation={augmentation}", "augmentation.min_visibility=0.5"))
    for index in range(12):
        sample = data.train[(0, index)]
        assert sample.image.dtype == torch.uint8 and sample.image.shape == (3, 144, 192)
        boxes = sample.target.boxes
        assert ((boxes >= 0) & (boxes <= 1)).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        assert sample.target.labels.dtype == torch.int64 and len(sample.target.labels) == len(boxes)
        again = data.train[(0, index)]
        assert torch.equal(sample.image, again.image) and torch.equal(boxes, again.target.boxes)
    if augmentation != "none":
        assert any(not torch.equal(data.train[(0, i)].image, data.train[(1, i)].image) for i in range(12))


@pytest.mark.parametrize("data", choices("data"))
def test_every_data_config(data, tmp_path):
    module = build_datamodule(run_config(tmp_path, f"data={data}", *data_overrides(data, tmp_path)))
    loaded, reasons = next(iter(module.train_dataloader()))
    assert not reasons and len(loaded) == len(loaded.targets) > 0
    assert len(module.test) == len(module.val) > 0


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # SQLAlchemy, of what MLflow does
@pytest.mark.parametrize("group", ["trainer", "callbacks", "logger"])
def test_every_part_of_the_trainer(group, tmp_path):
    for choice in choices(group):
        made = instantiate(run_config(tmp_path, f"{group}={choice}")[group])
        assert made


@pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short
@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_runs_a_step(experiment, tmp_path):
    config = run_config(
        tmp_path, f"experiment={experiment}", *data_overrides(data_of(experiment), tmp_path), *OFFLINE,
        "+trainer.fast_dev_run=1", "~callbacks", "~logger", "trainer.accelerator=cpu", "slots=10",
    )
    data = build_datamodule(config)
    task = build_task(config, data.class_names)
    trainer = instantiate(config["trainer"])
    trainer.fit(task, datamodule=data)
    assert trainer.callback_metrics["train/loss"].isfinite()
    assert 0 <= trainer.callback_metrics["val/AP"] <= 1


def test_every_config_opens_with_what_it_is():
    for file in CONF.rglob("*.yaml"):
        lines = file.read_text().splitlines()
        comments = [line for line in lines[:3] if line.startswith("# ") and "@package" not in line]
        assert comments, f"{file} does not say what it is"
    for file in (CONF / "experiment").glob("*.yaml"):
        assert "python tools/train.py" in file.read_text(), f"{file} does not give its command"
