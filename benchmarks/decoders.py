"""The time of a training step and of an inference step with every decoder, as ratios to `lstm`:

    python benchmarks/decoders.py [canvas width] [canvas height] [rounds]
"""

import statistics
import sys
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from detector.build import build_detector, build_losses, plain
from detector.types import Target

CONF = Path(__file__).resolve().parents[1] / "conf"
BATCH, OBJECTS, CLASSES = 8, 10, 3


def main(width: int = 320, height: int = 240, rounds: int = 5) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (BATCH, 3, height, width), dtype=torch.uint8)
    low = torch.rand(BATCH, OBJECTS, 2) * 0.8
    boxes = torch.cat([low, low + 0.15], -1)
    targets = [Target(one, torch.randint(0, CLASSES, (OBJECTS,)), i, (height, width)) for i, one in enumerate(boxes)]
    steps = {name: step_of(name) for name in sorted(file.stem for file in (CONF / "decoder").glob("*.yaml"))}
    times = {name: ([], []) for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            for kind, seconds in enumerate(step(images, targets)):
                if number:  # the first round warms up
                    times[name][kind].append(seconds)
    medians = {name: [statistics.median(one) for one in both] for name, both in times.items()}
    print(f"{BATCH} images of {width} × {height}, {torch.get_num_threads()} thread(s), median of {rounds} rounds")
    print(f"{'decoder':16} {'training':>10} {'ratio':>6} {'inference':>10} {'ratio':>6}")
    for name, (training, inference) in sorted(medians.items(), key=lambda item: item[1]):
        ratios = [value / base for value, base in zip((training, inference), medians["lstm"])]
        print(f"{name:16} {training:8.2f} s {ratios[0]:6.2f} {inference:8.2f} s {ratios[1]:6.2f}")


def step_of(decoder: str):
    """A function that takes one training step and one inference step and returns the seconds of each."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(compose("train", overrides=[f"decoder={decoder}", "output_dir=none", "name=none"]))
    detector = build_detector(config, CLASSES)
    set_loss, dense_loss = build_losses(config)
    optimizer = torch.optim.AdamW([p for p in detector.parameters() if p.requires_grad], lr=1e-4)

    def step(images, targets) -> tuple[float, float]:
        started = time.perf_counter()
        output = detector.train()(images, targets)
        terms = {**set_loss(output.stages, targets), **dense_loss(output.dense, output.scene.locations, targets)}
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        trained = time.perf_counter()
        with torch.inference_mode():
            detector.eval()(images)
        return trained - started, time.perf_counter() - trained

    return step


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
