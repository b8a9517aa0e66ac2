"""Sequence decoders as graphs for other programs: these have no Python that depends on the data."""

import pytest
import torch
from small_decoders import proposals, pyramid, randomised, scene, sequence_decoder
from torch import Tensor, nn

from detector.decoders.gru import GRU
from detector.decoders.lstm import LSTM
from detector.decoders.mlp import MLP
from detector.decoders.sequence_decoder import iou_with_earlier, parallel_segments
from detector.decoders.transformer import Transformer
from detector.types import StagePredictions

SLOTS = 12


class OfTensors(nn.Module):
    """A decoder whose scene comes as tensors."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        *maps, logits, boxes, valid = tensors
        *_, predicted = self.decoder(scene(StagePredictions(logits, boxes, valid=valid), maps))
        return predicted.logits, predicted.boxes


def tensors(seed: int, invalid: int) -> tuple[Tensor, ...]:
    given = proposals(slots=SLOTS - invalid, seed=seed, invalid=invalid)
    return *pyramid(seed=seed), given.logits, given.boxes, given.valid.clone()


def segments(given: tuple[Tensor, ...]) -> list[slice]:
    return parallel_segments(iou_with_earlier(StagePredictions(given[-3], given[-2], valid=given[-1])))


EXAMPLE, OTHERS = tensors(0, 2), [tensors(1, 2), tensors(2, 0), tensors(3, 7)]


def require_the_same(exported, decoder: nn.Module) -> None:
    """On the inputs it was exported with, and on others."""
    for given in (EXAMPLE, *OTHERS):
        torch.testing.assert_close(exported(*given), decoder(*given))


def test_the_inputs_have_segments_of_their_own():
    cut = [[(one.start, one.stop) for one in segments(given)] for given in (EXAMPLE, *OTHERS)]
    assert len(set(map(tuple, cut))) == 4 and all(1 < len(one) < SLOTS for one in cut)


@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")  # PyTorch's own, of its LSTM over a list
@pytest.mark.parametrize("kind, options", [
    (LSTM, {"feedback": True}), (GRU, {"feedback": True}), (MLP, {"feedback": True}),
    (Transformer, {"heads": 2, "geometry": True}), (LSTM, {}), (LSTM, {"feedback": True, "intermediate": True}),
], ids=["lstm-with-feedback", "gru-with-feedback", "mlp-with-feedback", "transformer", "lstm", "intermediate-stage"])
@torch.no_grad()
def test_an_exported_decoder_predicts_what_the_decoder_does(kind, options):
    decoder = OfTensors(randomised(sequence_decoder(kind, slots=SLOTS, **options))).eval()
    require_the_same(torch.export.export(decoder, EXAMPLE, strict=False).module(), decoder)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*is deprecated:FutureWarning")
@torch.no_grad()
def test_so_does_a_traced_one():
    decoder = OfTensors(randomised(sequence_decoder(slots=SLOTS, feedback=True, intermediate=True))).eval()
    traced = torch.jit.trace(decoder, EXAMPLE, check_trace=False)  # it would find the tests' checks of shapes
    require_the_same(traced, decoder)
