"""docs/lstm.md is true: its code is PyTorch's LSTM, and its figures are those of the results."""

import ast
import csv
import json
import re
from collections.abc import Callable

import albumentations
import numpy as np
import pytest
import torch
from scenes import ROOT, run_config

from detector.classification.build import build_task
from detector.classification.data.dataset import ClassificationDataset, Example
from detector.classification.data.preprocessing import Preprocessing
from detector.classification.reads.rows import Rows
from detector.decoders.recurrence import Recurrence
from detector.errors import InputError

PAGE = (ROOT / "docs/lstm.md").read_text()
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
SIZES = [(1, 1, 1, 1), (3, 1, 5, 2), (1, 6, 2, 4), (4, 7, 3, 3), (3, 5, 6, 4), (2, 12, 4, 5)]

every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: "B{} T{} D{} H{}".format(*size))
every_loss = pytest.mark.parametrize("last_alone", [False, True], ids=["of all steps", "of the last step"])


@pytest.fixture(scope="module")
def page() -> dict[str, Callable]:
    """What the page's code defines."""
    defined: dict = {}
    exec(compile(CODE, "docs/lstm.md", "exec"), defined)
    return defined


def example(size: tuple[int, ...], last_alone: bool = False) -> tuple[torch.nn.LSTM, list[np.ndarray], np.ndarray]:
    """An LSTM; its input, weights and biases as the page's `forward` takes them; and the gradient of a loss by its
    outputs, which is that sum of outputs times weights."""
    images, steps, inputs, hidden = size
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(inputs, hidden, batch_first=True, dtype=torch.float64)
    for parameter in lstm.parameters():
        torch.nn.init.normal_(parameter)  # gates far from .5, and the two biases far from each other
    random = np.random.default_rng(0)
    x, d_outputs = random.normal(size=(images, steps, inputs)), random.normal(size=(images, steps, hidden))
    if last_alone:
        d_outputs[:, :-1] = 0
    return lstm, [x, *(getattr(lstm, name).detach().numpy().copy() for name in WEIGHTS)], d_outputs


def gradients(page: dict[str, Callable], given: list[np.ndarray], d_outputs: np.ndarray) -> list[np.ndarray]:
    """By the page, of everything that `forward` is given."""
    x, w, u, *_ = given
    dx, dw, du, db = page["backward"](d_outputs, x, w, u, page["forward"](*given)[3])
    return [dx, dw, du, db, db]


@every_size
def test_forward_is_that_of_torch(page, size):
    lstm, given, _ = example(size)
    outputs, (h, c) = lstm(torch.tensor(given[0]))
    for found, expected in zip(page["forward"](*given), [outputs, h[0], c[0]]):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=0, atol=1e-6)


@every_size
@every_loss
def test_backward_is_that_of_torch(page, size, last_alone):
    lstm, given, d_outputs = example(size, last_alone)
    x = torch.tensor(given[0], requires_grad=True)
    lstm(x)[0].backward(torch.tensor(d_outputs))
    expected = [x.grad, *(getattr(lstm, name).grad for name in WEIGHTS)]
    for found, gradient in zip(gradients(page, given, d_outputs), expected):
        assert found.shape == gradient.shape
        np.testing.assert_allclose(found, gradient.numpy(), rtol=1e-6, atol=1e-12)


@every_size
@every_loss
def test_backward_agrees_with_finite_differences(page, size, last_alone):
    """Of the page's own forward, at every number that it is given; the tolerance is relative to the whole gradient."""
    _, given, d_outputs = example(size, last_alone)
    step = 1e-5
    for which, found in enumerate(gradients(page, given, d_outputs)):
        slopes = np.zeros_like(given[which])
        for place in np.ndindex(*slopes.shape):
            losses = []
            for offset in (step, -step):
                moved = [values.copy() for values in given]
                moved[which][place] += offset
                losses.append((page["forward"](*moved)[0] * d_outputs).sum())
            slopes[place] = (losses[0] - losses[1]) / (2 * step)
        assert np.linalg.norm(found - slopes) <= 1e-6 * np.linalg.norm(slopes)


def test_the_decoder_steps_through_the_same_cell(page):
    torch.manual_seed(0)
    recurrence = Recurrence(torch.nn.LSTM, size=5, layers=1, dropout=0.0).double()
    x = torch.randn(3, 6, 5, dtype=torch.float64)
    state, outputs = None, []
    with torch.no_grad():
        for features in x.split(2, 1):  # two slots at a time
            hidden, state = recurrence.step(features, state)
            outputs.append(hidden)
    weights = [getattr(recurrence.cell, name).detach().numpy() for name in WEIGHTS]
    found = page["forward"](x.numpy(), *weights)
    for ours, theirs in zip(found, [torch.cat(outputs, 1), *state[0]]):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-6)


def test_forward_and_backward_take_thirty_lines():
    functions = [node for node in ast.parse(CODE).body if isinstance(node, ast.FunctionDef)]
    lines = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert lines["forward"] + lines["backward"] <= 30


def test_figures_are_those_of_the_results():
    """Those of the tables that `tools/results.py` makes of the records."""
    results = (ROOT / "results/README.md").read_text()

    def cells(comparison: str, run: str) -> list[str]:
        (table,) = re.findall(rf"<!-- {comparison}: .*?<!-- end of {comparison} -->", results, re.DOTALL)
        (row,) = re.findall(rf"^\| {run} \|(.*)\|$", table, re.MULTILINE)
        return [cell.strip() for cell in row.split("|")]

    def score(comparison: str, run: str) -> str:
        return cells(comparison, run)[1].split(" (")[0]

    rows = re.findall(r"^\| [^|]* \| `(frozen_\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for comparison, *figures in rows:
        lstm, mlp = "decoder=lstm", "decoder=mlp decoder.feedback=true"
        assert figures == [score(comparison, lstm), score(comparison, mlp), cells(comparison, lstm)[-2]]
    without = [score("compare_bccd", run) for run in ("decoder=lstm decoder.feedback=False", "decoder=mlp")]
    stated = re.search(r"had (\.\d+) with `lstm` and (\.\d+) with `mlp` on blood cells", " ".join(PAGE.split()))
    assert [f"0{figure}" for figure in stated.groups()] == without


def _said(tmp_path) -> list[str]:
    """What the program says to each of the usual mistakes."""
    plain = [albumentations.ToFloat(max_value=255.0, p=1.0)]
    preprocessing = Preprocessing(canvas=(8, 8), transforms=[albumentations.Resize(8, 8), *plain])
    digits = [str(number) for number in range(10)]
    run = {**run_config(tmp_path, "experiment=digits"), "loss": {"_target_": "torch.nn.BCEWithLogitsLoss"}}
    mistakes = [
        lambda: Rows(canvas=(28, 20), channels=1)(torch.zeros(1, 1, 28, 20)),
        lambda: build_task(run, digits),
        lambda: ClassificationDataset(
            class_names=digits, records=[Example(7, 10, "digit #7")], transform=preprocessing
        ),
        lambda: ClassificationDataset(class_names=["cat"], records=[], transform=preprocessing),
        lambda: Preprocessing(canvas=(8, 8), transforms=plain)(np.zeros((7, 9, 3), np.uint8), seed=0),
    ]
    said = []
    for mistake in mistakes:
        with pytest.raises(InputError) as error:
            mistake()
        said.append(str(error.value))
    return said


def test_the_program_says_what_it_is_quoted_to_say(tmp_path):
    mistakes = re.sub(r"\s+", " ", PAGE.partition("## The usual mistakes")[2])
    quoted = re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", mistakes)
    said = _said(tmp_path)
    assert len(quoted) == len(said)
    assert all(one.startswith(sentence) for sentence, one in zip(quoted, said)), list(zip(quoted, said))


def test_the_figures_of_gates_are_those_of_the_run():
    means = json.loads((ROOT / "results/digits/gates.json").read_text())["means"]
    text = PAGE.partition("In a trained run")[2].partition("## ")[0]
    whats = ("forget", "input", "forget above .9")
    of = {(layer, what): means[f"layer {layer}, {what}"] for layer in (1, 2) for what in whats}
    ends = [of[layer, what][at] for what in ("forget", "input") for layer in (1, 2) for at in (0, -1)]
    shares = [*(of[2, "forget above .9"][at] for at in (0, 4, -1)), of[1, "forget above .9"][-1]]
    assert re.findall(r"\d\.\d\d", text) == [f"{value:.2f}" for value in [*ends, *shares]]


def test_accuracies_are_those_of_the_comparison():
    with (ROOT / "results/digits/comparison.csv").open() as lines:
        accuracy = {row["name"]: f"{float(row['accuracy']):.3f}" for row in csv.DictReader(lines)}
    text = PAGE.partition("Accuracy on digits:")[2].partition("## ")[0]
    names = ["row_lstm", "row_gru", "row_mlp", "row_lstm reads.shuffle_seed=0", "row_mlp reads.shuffle_seed=0"]
    assert re.findall(r"0\.\d{3}", text) == [accuracy[f"model={name}"] for name in names]
