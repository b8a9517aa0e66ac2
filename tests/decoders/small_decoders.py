"""A random scene, and small decoders of its proposals."""

import torch

from detector.decoders.lstm import LSTM
from detector.postprocess import NOTHING
from detector.types import Locations, Predictions, Scene, StagePredictions

CANVAS = (96, 128)


def pyramid(batch=2, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, 12 // 2**k, 16 // 2**k, generator=generator) for k in range(3)]


def listed(logits: torch.Tensor, boxes: torch.Tensor, invalid: int = 0) -> StagePredictions:
    """As a list of proposals, with so many slots at its end that are not valid."""
    filled = [torch.cat([one, torch.full_like(one[:, :1], value).expand(-1, invalid, -1)], 1)
              for one, value in ((logits, NOTHING), (boxes, 0.0))]
    return StagePredictions(*filled, valid=(torch.arange(filled[0].shape[1]) < logits.shape[1]).expand(len(logits), -1))


def proposals(batch=2, slots=10, classes=3, seed=0, invalid=0) -> StagePredictions:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(batch, slots, 2, generator=generator) * 0.5
    boxes = torch.cat([low, low + 0.1 + 0.3 * torch.rand(batch, slots, 2, generator=generator)], -1)
    return listed(torch.randn(batch, slots, classes, generator=generator), boxes, invalid)


def mixed(given: Predictions) -> Predictions:
    """Its slots in another order, which is the same for all lists of a length."""
    order = torch.randperm(given.boxes.shape[1], generator=torch.Generator().manual_seed(1))
    return given.gather(order.expand(len(given.boxes), -1))


def scene(given: StagePredictions | None = None, maps: list | None = None) -> Scene:
    given = given or proposals()
    nowhere = Locations(torch.zeros(0, 2), torch.zeros(0, 2), [(0, 0)] * 3)
    return Scene(maps or pyramid(), Predictions(given.logits[:, :0], given.boxes[:, :0]), nowhere, given, CANVAS)


def sequence_decoder(kind=LSTM, **options):
    torch.manual_seed(0)
    options = {"hidden_size": 16, "layers": 1, "dropout": 0.0, "slots": 10, "points": 2, "feedback": False, **options}
    return kind(width=8, strides=[8, 16, 32], num_classes=3, **options)


def randomised(decoder):
    """With a novelty of its own for every slot, so that differences show."""
    torch.nn.init.normal_(decoder.novelty[-1].weight)
    return decoder.eval()
