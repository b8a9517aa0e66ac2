"""The time of a whole image with the decoder of a checkpoint, as a ratio to NMS behind the same network:

    python benchmarks/decoder_and_nms.py CHECKPOINT [images] [rounds] [root]

on the first images of its validation split, one at a time, all in turn; `root` says where the data lies now.
"""

import statistics
import sys
import time

import torch

from detector.build import build_datamodule
from detector.checkpoint import load_detector, read_checkpoint
from detector.postprocess import detections_of, suppress


def main(checkpoint: str, images: int = 40, rounds: int = 3, root: str | None = None) -> None:
    read = read_checkpoint(checkpoint)
    detector, config = load_detector(read), read["run"]["config"]
    if root:
        config["data"]["dataset"]["root"] = root
    config["data"]["num_workers"] = 0
    val = build_datamodule(config, class_names=read["run"]["class_names"]).val
    canvases = [val[(0, index)].image[None] for index in range(min(images, len(val)))]
    threshold, slots = config["nms_threshold"], config["slots"]

    def decoder(canvas):
        return detections_of(detector(canvas).stages[-1], [(1, 1)])

    def nms(canvas):
        return detections_of(suppress(detector.look(canvas).dense, threshold=threshold, slots=slots), [(1, 1)])

    def nothing(canvas):
        return detector.look(canvas)

    ways = {"decoder": decoder, "NMS": nms, "network alone": nothing}
    times = {name: [] for name in ways}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for canvas in canvases:
                for name, way in ways.items():
                    started = time.perf_counter()
                    way(canvas.contiguous(memory_format=torch.channels_last))
                    if number:  # the first round warms up
                        times[name].append(time.perf_counter() - started)
    base = statistics.median(times["NMS"])
    print(f"{len(canvases)} images, {torch.get_num_threads()} thread(s), median of {rounds} rounds")
    for name, some in times.items():
        print(f"{name:14} {1000 * statistics.median(some):7.1f} ms {statistics.median(some) / base:6.2f}")


if __name__ == "__main__":
    arguments = dict(zip(("checkpoint", "images", "rounds", "root"), sys.argv[1:]))
    main(**{name: value if name in ("checkpoint", "root") else int(value) for name, value in arguments.items()})
