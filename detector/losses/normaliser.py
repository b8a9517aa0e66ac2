"""What losses are divided by, where several processes train together too.

Their gradients are averaged. So that this is the gradient of one process that sees all their batches, each divides by the
mean over processes, as in DETR. All must ask for that mean equally often, however many stages one's batch makes.
"""

from __future__ import annotations

import torch
import torch.distributed as distributed
from jaxtyping import Shaped
from torch import Tensor


def trains_with_others() -> bool:
    """Whether gradients are averaged over processes; in validation, where some have more batches, they are not."""
    return distributed.is_available() and distributed.is_initialized() and torch.is_grad_enabled()


def normalisers(*sums: Shaped[Tensor, ""]) -> tuple[Shaped[Tensor, ""], ...]:
    """Sums over a batch, at least 1; with other processes the means of theirs, at least 1 over all of them together.

    Args:
        sums: the first one is on the device of the loss.
    """
    least = 1
    if trains_with_others():
        together = torch.stack([one.to(sums[0].device, torch.float32) for one in sums])
        distributed.all_reduce(together)
        sums, least = (together / distributed.get_world_size()).unbind(), 1 / distributed.get_world_size()
    return tuple(one.clamp(min=least) for one in sums)


def keep_in_step(stages: int, device: torch.device) -> None:
    """Stand in for stages that other processes have and this one lacks; they come before its own.

    Args:
        stages: how often this process is going to ask for two `normalisers`; 0 for a batch that is empty.
        device: of the loss.
    """
    if trains_with_others():
        most = torch.tensor(stages, device=device)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        for _ in range(int(most) - stages):
            normalisers(*torch.zeros(2, device=device))
