"""The script that draws the gates of a trained run."""

import json
import runpy

import pytest
import torch
from scenes import ROOT

from detector.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short
SCRIPT = runpy.run_path(str(ROOT / "docs/gates.py"))


@pytest.mark.parametrize("layers", [1, 2])
def test_gates_are_those_of_the_network(layers):
    """The states that follow from them are those of torch.nn.LSTM; by hand, the gates of a first step."""
    torch.manual_seed(0)
    network, sequence = torch.nn.LSTM(5, 4, layers, batch_first=True), torch.rand(3, 6, 5)
    made = SCRIPT["gates"](network, sequence)
    assert len(made) == layers
    torch.testing.assert_close(made[-1]["output"], network(sequence)[0].detach())
    first = sequence[:, 0] @ network.weight_ih_l0.T + network.bias_ih_l0 + network.bias_hh_l0
    torch.testing.assert_close(made[0]["input"][:, 0], first[:, :4].sigmoid().detach())
    torch.testing.assert_close(made[0]["forget"][:, 0], first[:, 4:8].sigmoid().detach())


def test_the_script_writes_a_picture_and_its_numbers(named, tmp_path, capsys):
    SCRIPT["main"](f"{named}/checkpoints/best.ckpt", str(tmp_path / "gates"))
    kept = json.loads((tmp_path / "gates.json").read_text())
    assert (tmp_path / "gates.png").stat().st_size > 5000 and len(kept["means"]["layer 1, forget"]) == 8
    assert all(0 <= value < 1 for values in kept["means"].values() for value in values) and kept["command"]


def test_other_models_are_refused(trained):
    with pytest.raises(InputError, match="is of a detector"):
        SCRIPT["main"](f"{trained}/checkpoints/best.ckpt")
