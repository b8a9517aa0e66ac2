"""A random scene, and small decoders of its proposals."""

import torch

from detector.decoders.lstm import LSTM
from detector.types import Locations, Predictions, Scene

CANVAS = (96, 128)


def pyramid(batch=2, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, 12 // 2**k, 16 // 2**k, generator=generator) for k in range(3)]


def proposals(batch=2, slots=10, classes=3, seed=0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(batch, slots, 2, generator=generator) * 0.5
    boxes = torch.cat([low, low + 0.1 + 0.3 * torch.rand(batch, slots, 2, generator=generator)], -1)
    return Predictions(torch.randn(batch, slots, classes, generator=generator), boxes)


def scene(given: Predictions | None = None, maps: list | None = None) -> Scene:
    given = given or proposals()
    nowhere = Locations(torch.zeros(0, 2), torch.zeros(0, 2), [])
    return Scene(maps or pyramid(), Predictions(given.logits[:, :0], given.boxes[:, :0]), nowhere, given, CANVAS)


def sequence_decoder(kind=LSTM, **options):
    torch.manual_seed(0)
    options = {"hidden_size": 16, "layers": 1, "dropout": 0.0, "slots": 10, "stages": 2, "points": 2,
               "feedback": False, **options}
    return kind(width=8, strides=[8, 16, 32], num_classes=3, **options)


def randomised(decoder):
    """With predictions far from what was proposed, so that differences show."""
    for stage in decoder.stages:
        for output in (stage.prediction_head.classes[-1], stage.prediction_head.box[-1]):
            torch.nn.init.normal_(output.weight)
    return decoder.eval()


def changed_at(step: int) -> tuple[Predictions, Predictions]:
    given = proposals()
    changed = Predictions(given.logits.clone(), given.boxes)
    changed.logits[:, step] += 1.0
    return given, changed


def same_steps(decoder, given, changed) -> list[bool]:
    with torch.no_grad():
        a, b = decoder(scene(given))[-1], decoder(scene(changed))[-1]
    return ((a.logits == b.logits).all(-1) & (a.boxes == b.boxes).all(-1)).all(0).tolist()
