"""Commands as a person types them, small and in this process."""

import runpy
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra
from scenes import ROOT

TINY = [
    "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu", "neck.width=32",
    "decoder.hidden_size=32", "decoder.slots=20", "pictures=2", "data.num_workers=0",
]
DIGITS = [
    "experiment=digits", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu",
    "model.hidden_size=16", "model.layers=1", "pictures=2",
    "data.dataset.splits={train: [0, 0.2], val: [0.2, 0.3], test: [0.3, 0.4]}",
]
"""A run of the classification task in seconds."""
SHAPES = ["data.dataset.splits={train: 8, val: 4, test: 4}", "data.batch_size=4"]


def command(tool: str, *arguments: str) -> None:
    """Run a command in this process, as `python tools/TOOL.py …` would."""
    script = str(ROOT / "tools" / f"{tool}.py")
    before = sys.argv
    GlobalHydra.instance().clear()
    sys.argv = [script, *map(str, arguments)]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        sys.argv = before


def refused(capsys, tool: str, *arguments: str) -> str:
    """What a command says when it ends with an error."""
    with pytest.raises(SystemExit) as ended:
        command(tool, *arguments)
    assert ended.value.code not in (0, None)
    said = capsys.readouterr().err
    assert "Traceback" not in said, said
    return said
