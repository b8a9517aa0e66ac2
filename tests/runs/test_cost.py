import time

import pytest
import torch
from scenes import CONF, OFFLINE, run_config
from torch import nn

from detector.build import build_detector
from detector.decoders.recurrence import Recurrence
from detector.runs.cost import PeakMemory, macs, milliseconds


class Decoder(nn.Module):
    """Something with a cost that can be counted by hand."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.recurrence = Recurrence(nn.LSTM, size=8, layers=1, dropout=0.0)

    def forward(self, images):
        return self.recurrence(self.conv(images.float()).flatten(2).transpose(1, 2))


class Sleeper(nn.Module):
    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def forward(self, images):
        time.sleep(self.seconds)


def test_macs_by_hand():
    images = torch.zeros(2, 3, 5, 4, dtype=torch.uint8)
    convolution, lstm = 20 * 9 * 3 * 8, 20 * 8 * 8 * 8  # 4 gates from the input and 4 from the state, 8 × 8 each
    assert macs(Decoder().eval(), images) == convolution + lstm


def test_decoders_of_equal_parameters_cost_about_the_same(tmp_path):
    images = torch.zeros(1, 3, 96, 128, dtype=torch.uint8)
    costs = {}
    for decoder, options in (("lstm", ["decoder.feedback=false"]), ("mlp", []), ("dense", [])):
        config = run_config(tmp_path, f"decoder={decoder}", *options, *OFFLINE)
        costs[decoder] = macs(build_detector(config, 3).eval(), images)
    assert costs["dense"] < costs["mlp"] and abs(costs["lstm"] / costs["mlp"] - 1) < 0.01
    with_feedback = macs(build_detector(run_config(tmp_path, "decoder=lstm", *OFFLINE), 3).eval(), images)
    assert abs(with_feedback / costs["lstm"] - 1) < 0.01


@pytest.mark.parametrize("decoder", sorted(file.stem for file in (CONF / "decoder").glob("*.yaml")))
def test_every_decoder_s_cost_is_counted(decoder, tmp_path):
    """Those that stop by themselves are kept from it, so that every part of them runs."""
    never = {"lstm_attention": ["decoder.stop_above=2.0"], "lstm_pointer": ["decoder.end_above=2.0"]}
    overrides = never.get(decoder, [])
    detector = build_detector(run_config(tmp_path, f"decoder={decoder}", *overrides, *OFFLINE), 3).eval()
    backbone, images = detector.backbone, torch.zeros(1, 3, 96, 128, dtype=torch.uint8)
    assert macs(detector, images) > macs(backbone, images) > 0


def test_times_are_told_apart():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    times = milliseconds({"slow": Sleeper(0.02), "fast": Sleeper(0.002)}, images, rounds=3)
    assert 20 <= times["slow"] and 2 <= times["fast"] < times["slow"]


def test_peak_memory_is_that_of_now():
    before = PeakMemory().megabytes()
    if before is None:
        return
    memory = PeakMemory()
    held = torch.ones(50_000_000)
    peak = memory.megabytes()
    assert peak > before + 150
    del held
    assert PeakMemory().megabytes() < peak - 100
