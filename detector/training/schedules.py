"""Learning rates over a run, as factors of each parameter group's own rate."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def one_cycle(optimizer: Optimizer, *, total_steps: int, warmup: float, start: float, end: float) -> LambdaLR:
    """One-cycle (Smith and Topin 2018): a cosine up from `start` over the share `warmup` of all steps, then down."""

    def factor(step: int) -> float:
        risen = max(1, round(warmup * total_steps))
        if step < risen:
            return start + (1 - start) * (1 - math.cos(math.pi * step / risen)) / 2
        gone = min(1.0, (step - risen) / max(1, total_steps - risen))
        return end + (1 - end) * (1 + math.cos(math.pi * gone)) / 2

    return LambdaLR(optimizer, factor)


def cosine(optimizer: Optimizer, *, total_steps: int, warmup: float, end: float) -> LambdaLR:
    """A straight line up from 0 over the share `warmup` of all steps, then a cosine down to `end`."""

    def factor(step: int) -> float:
        risen = max(1, round(warmup * total_steps))
        if step < risen:
            return (step + 1) / risen
        gone = min(1.0, (step - risen) / max(1, total_steps - risen))
        return end + (1 - end) * (1 + math.cos(math.pi * gone)) / 2

    return LambdaLR(optimizer, factor)
