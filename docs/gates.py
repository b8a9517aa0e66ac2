"""Draw what the gates of a trained LSTM do, row by row: python docs/gates.py checkpoint=PATH [output=PATH]

Writes PATH.png and PATH.json (results/digits/gates by default): of each layer the mean of forget and input gate over
units and test images at each step, and the share of forget gates above .9. For a row_lstm that reads forward."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
import torch
from jaxtyping import Float
from torch import Tensor, nn

from detector.checkpoint import read_checkpoint
from detector.classification.build import build_datamodule
from detector.classification.checkpoint import buildable_preprocessing, load_classifier
from detector.classification.models.row_lstm import RowLSTM
from detector.errors import InputError

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

IMAGES = 512
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
COLOURS = {"forget": "#0072B2", "input": "#D55E00"}


@torch.no_grad()
def gates(network: nn.LSTM, sequence: Float[Tensor, "B T D"]) -> list[dict[str, Float[Tensor, "B T H"]]]:
    """The gates of each layer of a network that reads forward: `forget` and `input`; and its states, as `output`."""
    layers = []
    for layer in range(network.num_layers):
        w, u, b_x, b_h = (getattr(network, f"{name}_l{layer}") for name in NAMES)
        h = c = sequence.new_zeros(len(sequence), network.hidden_size)
        steps: dict[str, list[Tensor]] = {"forget": [], "input": [], "output": []}
        for x in sequence.unbind(1):
            i, f, g, o = (x @ w.T + b_x + h @ u.T + b_h).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            for name, value in (("forget", f.sigmoid()), ("input", i.sigmoid()), ("output", h)):
                steps[name].append(value)
        layers.append({name: torch.stack(values, 1) for name, values in steps.items()})
        sequence = layers[-1]["output"]
    return layers


def main(checkpoint: str, output: str = "results/digits/gates") -> None:
    content = read_checkpoint(checkpoint)
    classifier = load_classifier(content)
    model = classifier.model
    if not isinstance(model, RowLSTM) or model.direction != "forward":
        raise InputError(f"{checkpoint} is a {type(model).__name__}; give a row_lstm that reads forward")
    data = build_datamodule(
        {**content["run"]["config"], "augmentation": None, **buildable_preprocessing(content)},
        class_names=content["run"]["class_names"],
    )
    images = torch.stack([data.test[(0, index)].image for index in range(min(IMAGES, len(data.test)))])
    layers = model.network.num_layers
    figure, panels = plt.subplots(1, layers, figsize=(5 * layers, 3.4), squeeze=False)
    means: dict[str, list[float]] = {}
    for number, (layer, axes) in enumerate(zip(gates(model.network, classifier.sequence(images)), panels[0]), 1):
        for name, colour in COLOURS.items():
            of_step = layer[name].mean((0, 2))
            means[f"layer {number}, {name}"] = [round(value, 4) for value in of_step.tolist()]
            axes.plot(range(1, len(of_step) + 1), of_step, marker="o", label=f"{name} gate", color=colour)
        kept = (layer["forget"] > 0.9).float().mean((0, 2))
        means[f"layer {number}, forget above .9"] = [round(value, 4) for value in kept.tolist()]
        axes.plot(range(1, len(kept) + 1), kept, "--", color=COLOURS["forget"], label="forget gates above .9, share")
        axes.set(xlabel="row", ylim=(0, 1), title=f"layer {number}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    panels[0][0].set(ylabel="over units and images")
    panels[0][-1].legend()
    figure.savefig(Path(f"{output}.png"), dpi=110, bbox_inches="tight")
    facts, record = {}, Path(checkpoint).parent.parent / "record.json"
    if record.exists():
        facts = {key: json.loads(record.read_text())[key] for key in ("command", "commit", "seed")}
    Path(f"{output}.json").write_text(json.dumps({**facts, "images": len(images), "means": means}, indent=1) + "\n")
    print(f"{output}.png and {output}.json: " + "; ".join(f"{name} {values}" for name, values in means.items()))


if __name__ == "__main__":
    options = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if "checkpoint" not in options or {*options} - {"checkpoint", "output"} or len(options) < len(sys.argv) - 1:
        sys.exit(__doc__)
    try:
        main(**options)
    except InputError as error:
        sys.exit(f"error: {error}")
