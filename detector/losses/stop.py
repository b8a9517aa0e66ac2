"""When to stop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from detector.types import Assignment


def stop_loss(stop: Float[Tensor, "B Q"], assignments: list[Assignment]) -> Float[Tensor, ""]:
    """Cross-entropy of stopping, summed over the steps that matter.

    After the step that answers for the last matched object the sequence is to stop, before it is to go on; later steps
    do not count.

    Args:
        stop: logits that no object is left at a step.
        assignments: which slots, that is steps, answer for objects.
    """
    steps = torch.arange(stop.shape[1], device=stop.device)
    ends = torch.stack([torch.cat([a.slots + 1, a.slots.new_zeros(1)]).amax() for a in assignments]).unsqueeze(1)
    return F.binary_cross_entropy_with_logits(
        stop, (steps == ends).to(stop.dtype), weight=(steps <= ends).to(stop.dtype), reduction="sum"
    )
