"""An LSTM written from its equations in NumPy is the oracle of every LSTM in the project."""

import numpy as np
import pytest
import torch

from detector.decoders.recurrence import Recurrence


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def oracle(x: np.ndarray, layers: list[dict]) -> np.ndarray:
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    `x` is batch × time × features; a layer holds the weights `w` (4H × F) and `u` (4H × H) and the biases `b` (4H), the
    rows in the order input gate, forget gate, candidate, output gate. Returns the hidden state at each time.
    """
    for layer in layers:
        size = layer["u"].shape[1]
        hidden, cell = np.zeros((len(x), size)), np.zeros((len(x), size))
        states = np.zeros((*x.shape[:2], size))
        for t in range(x.shape[1]):
            gates = x[:, t] @ layer["w"].T + hidden @ layer["u"].T + layer["b"]
            i, f, g, o = np.split(gates, 4, axis=1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
            states[:, t] = hidden
        x = states
    return x


def weights(lstm: torch.nn.Module, suffix: str) -> dict:
    def get(name: str) -> np.ndarray:
        return getattr(lstm, f"{name}{suffix}").detach().double().numpy().copy()

    return {"w": get("weight_ih"), "u": get("weight_hh"), "b": get("bias_ih") + get("bias_hh")}


def inputs(batch=3, time=7, features=6, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, time, features))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_torch_agrees_with_the_equations(layers, seed):
    torch.manual_seed(seed)
    recurrence = Recurrence(torch.nn.LSTM, size=6, layers=layers, dropout=0.0)
    expected = oracle(inputs(seed=seed), [weights(recurrence.cell, f"_l{k}") for k in range(layers)])
    found = recurrence(torch.tensor(inputs(seed=seed), dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_single_step_cell():
    """What `lstm_pointer` and `lstm_attention` are built on."""
    torch.manual_seed(0)
    cell = torch.nn.LSTMCell(6, 5)
    x = torch.tensor(inputs(), dtype=torch.float32)
    state = (torch.zeros(3, 5), torch.zeros(3, 5))
    found = []
    for t in range(x.shape[1]):
        state = cell(x[:, t], state)
        found.append(state[0])
    expected = oracle(inputs(), [weights(cell, "")])
    np.testing.assert_allclose(torch.stack(found, 1).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["w", "u", "b", "x"])
def test_gradients_agree_with_finite_differences_of_the_equations(name):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(4, 3, batch_first=True).double()
    x = torch.tensor(inputs(2, 5, 4), requires_grad=True)
    target = np.random.default_rng(1).normal(size=(2, 5, 3))
    (lstm(x)[0] * torch.tensor(target)).sum().backward()
    gradients = {
        "w": lstm.weight_ih_l0.grad, "u": lstm.weight_hh_l0.grad, "b": lstm.bias_ih_l0.grad, "x": x.grad,
    }

    def loss(offset: np.ndarray) -> float:
        layer, given = weights(lstm, "_l0"), inputs(2, 5, 4)
        if name == "x":
            given = given + offset
        else:
            layer[name] = layer[name] + offset
        return float((oracle(given, [layer]) * target).sum())

    shape = gradients[name].shape
    step = 1e-5
    for place in list(np.ndindex(*shape))[:: max(1, int(np.prod(shape)) // 15)]:
        offset = np.zeros(shape)
        offset[place] = step
        slope = (loss(offset) - loss(-offset)) / (2 * step)
        assert gradients[name][place].item() == pytest.approx(slope, abs=1e-5)
