"""An exponential moving average of the weights, evaluated and saved in their place."""

from __future__ import annotations

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class ExponentialAverage(WeightAveraging):
    """Lightning's weight averaging with a decay that grows from 0.1 to `decay`, so that short runs profit too.

    After n steps the decay is min(`decay`, (1 + n) / (10 + n)), as in TensorFlow's `ExponentialMovingAverage`.
    """

    def __init__(self, *, decay: float):
        self.decay = decay
        super().__init__(avg_fn=self.average)

    def average(self, averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        steps = int(steps)
        decay = min(self.decay, (1 + steps) / (10 + steps))
        return averaged + (1 - decay) * (current - averaged)
