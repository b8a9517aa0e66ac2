"""The models that name sequences, and their losses."""

import pytest
import torch
from scenes import CONF, run_config
from torch.nn import functional

from detector.build import instantiate
from detector.classification.losses.focal import FocalLoss
from detector.classification.models.equal_size import equal_size
from detector.errors import InputError

MODELS = sorted(file.stem for file in (CONF / "model").glob("*.yaml"))
DIRECTED = [(model, direction) for model in ("row_lstm", "row_gru") for direction in ("forward", "backward", "both")]


def make(tmp_path, model: str, *options: str, features: int = 5, steps: int = 6, classes: int = 4):
    run = run_config(tmp_path, "experiment=digits", f"model={model}", *options)
    torch.manual_seed(0)
    return instantiate(run["model"], features=features, steps=steps, num_classes=classes).eval()


@pytest.mark.parametrize("model, options", [
    ("row_mlp", []), *((model, [f"model.direction={direction}"]) for model, direction in DIRECTED),
])
def test_a_sequence_cut_short_gives_the_belief_at_that_step(model, options, tmp_path):
    made = make(tmp_path, model, *options)
    sequence = torch.rand(3, 6, 5)
    beliefs = made.beliefs(sequence)
    assert beliefs.shape == (3, 6, 4)
    for steps in range(1, 7):
        torch.testing.assert_close(beliefs[:, steps - 1], made(sequence[:, :steps]))
    assert (beliefs[:, 1:] - beliefs[:, :-1]).abs().amax((0, 2)).min() > 1e-4  # every step tells it something


@pytest.mark.parametrize("model, direction", DIRECTED)
def test_directions(model, direction, tmp_path):
    """By hand: the states of the network's own two halves, each after the last step that it reads."""
    made = make(tmp_path, model, f"model.direction={direction}", "model.layers=1")
    sequence = torch.rand(2, 6, 5)
    kind = type(made.network)
    size, weights = made.network.hidden_size, made.network.state_dict()
    last = []
    for suffix, backwards in (("", direction == "backward"), ("_reverse", True))[: 1 + (direction == "both")]:
        one = kind(5, size, 1, batch_first=True)
        one.load_state_dict({name.removesuffix(suffix): value for name, value in weights.items()
                             if name.endswith("_reverse") == bool(suffix)})
        last.append(one(sequence.flip(1) if backwards else sequence)[0][:, -1])
    torch.testing.assert_close(made(sequence), made.output(torch.cat(last, -1)))


def test_a_direction_that_does_not_exist(tmp_path):
    with pytest.raises(Exception, match="model.direction is 'up'; it must be one of forward, backward, both"):
        make(tmp_path, "row_lstm", "model.direction=up")


@pytest.mark.parametrize("features, steps, classes", [(8, 8, 10), (28, 28, 10), (144, 48, 3), (3 * 320, 3, 3)])
@pytest.mark.parametrize("options", [[], ["model.hidden_size=20", "model.layers=1"]], ids=["preset", "textbook"])
@pytest.mark.parametrize("model", ["row_gru", "row_mlp"])
def test_models_have_as_many_parameters_as_the_lstm(model, options, features, steps, classes, tmp_path):
    sizes = {"features": features, "steps": steps, "classes": classes}
    both = [make(tmp_path, one, *options, **sizes) for one in (model, "row_lstm")]
    made, lstm = (sum(p.numel() for p in one.parameters()) for one in both)
    one_unit = steps * features + 1 + classes  # of the feed-forward network's first layer: it cannot be split
    assert abs(made - lstm) <= max(0.05 * lstm, one_unit / 2 + 1)
    if features * steps < 700:
        assert abs(made - lstm) <= 0.05 * lstm


def test_the_textbooks_lstm(tmp_path):
    """28 rows of 28 pixels, hidden size 20: 4 · 20 · (28 + 20) weights, 2 · 80 biases, and 20 · 10 + 10 behind it."""
    made = make(tmp_path, "row_lstm", "model.hidden_size=20", "model.layers=1", features=28, steps=28, classes=10)
    assert sum(p.numel() for p in made.parameters()) == 80 * 48 + 160 + 210


@pytest.mark.parametrize("wanted", [1, 2, 3, 7, 16, 100])
def test_equal_size_finds_the_nearest(wanted):
    like = torch.nn.Linear(1, wanted, bias=False)
    assert equal_size(lambda size: torch.nn.Linear(1, size, bias=False), lambda: like) == wanted
    four_a_unit = equal_size(lambda size: torch.nn.Linear(4, size, bias=False), lambda: like)
    assert abs(4 * four_a_unit - wanted) <= 2 or four_a_unit == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("length", [1, 6])
def test_every_model_gets_gradients(model, length, tmp_path):
    made = make(tmp_path, model).train()
    functional.cross_entropy(made(torch.rand(3, length, 5)), torch.tensor([0, 1, 2])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_focal_loss_by_hand():
    logits = torch.tensor([[0.8, 0.2], [0.4, 0.6]]).log()
    labels = torch.tensor([0, 0])
    expected = -(0.2**2 * torch.tensor(0.8).log() + 0.6**2 * torch.tensor(0.4).log()) / 2
    torch.testing.assert_close(FocalLoss(gamma=2.0)(logits, labels), expected)
    torch.testing.assert_close(FocalLoss(gamma=0.0)(logits, labels), functional.cross_entropy(logits, labels))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_has_gradients_where_the_answer_is_sure(gamma):
    logits = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    FocalLoss(gamma=gamma)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("option", ["model.hidden_size=0", "model.layers=0"])
def test_sizes_that_make_no_model(option, tmp_path):
    from detector.classification.build import build_classifier

    with pytest.raises(InputError, match="it must be at least 1"):
        build_classifier(run_config(tmp_path, "experiment=digits", option), 10)
