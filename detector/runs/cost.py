"""What a detector costs: MACs, time, memory."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@torch.no_grad()
def macs(detector: nn.Module, images: Shaped[Tensor, "B _ H W"]) -> int:
    """MACs (multiplications with an addition) an image, of convolutions and matrix products (an LSTM's among them).

    Args:
        detector: or classifier, in evaluation mode, on the CPU or the images' device.
        images: as it takes them; decoders that stop by themselves cost what these pictures cost them.
    """
    detector = copy.deepcopy(detector).requires_grad_(False)  # or the counter would ask for gradients
    fast = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's own flags
        try:  # fused kernels are not counted, so they are taken apart
            torch.backends.mha.set_fastpath_enabled(False)
            with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
                with FlopCounterMode(display=False) as counter:
                    detector(images)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // 2 // len(images)


@torch.inference_mode()
def milliseconds(
    detectors: dict[str, nn.Module], images: Shaped[Tensor, "B _ H W"], *, rounds: int = 7
) -> dict[str, float]:
    """The time for one image, each given by itself: the median over rounds in which the detectors take turns.

    A machine's moods then meet all of them alike: compare the figures of one call, not of two.
    """
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for number in range(rounds + 1):
        for name, detector in detectors.items():
            started = time.perf_counter()
            for image in images:
                detector(image.unsqueeze(0))
            if images.is_cuda:
                torch.cuda.synchronize()
            if number:  # the first round warms up
                times[name].append(1000 * (time.perf_counter() - started) / len(images))
    return {name: statistics.median(values) for name, values in times.items()}


class PeakMemory:
    """The most memory in use since this was made: of the GPU where there is one, else of the process (Linux)."""

    def __init__(self):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        elif CLEAR.exists():
            CLEAR.write_text("5")  # the kernel's peak starts anew

    def megabytes(self) -> float | None:
        """In units of 10⁶ bytes; None where the system does not tell."""
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 1e6
        if not STATUS.exists():
            return None
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
