"""What losses are divided by: where processes train together, by the mean over them (as in DETR), so that their
averaged gradients are those of one process that sees all batches. All must ask for it equally often."""

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
    The first is on the device of the loss."""
    least = 1
    if trains_with_others():
        together = torch.stack([one.to(sums[0].device, torch.float32) for one in sums])
        distributed.all_reduce(together)
        sums, least = (together / distributed.get_world_size()).unbind(), 1 / distributed.get_world_size()
    return tuple(one.clamp(min=least) for one in sums)


def keep_in_step(stages: int, device: torch.device) -> None:
    """Stand in for stages that others have and this process lacks, before its own; each asks for two `normalisers`."""
    if trains_with_others():
        most = torch.tensor(stages, device=device)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        for _ in range(int(most) - stages):
            normalisers(*torch.zeros(2, device=device))
