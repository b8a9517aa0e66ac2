"""What the README tells one to type works."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from running import DIGITS, SHAPES, TINY, command
from scenes import OFFLINE, ROOT, classification_experiments, data_of, data_overrides, write_voc

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has advice for runs this short


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("line", [
    pytest.param(line, marks=pytest.mark.slow if " -m " in line else []) for line in readme_commands()
])
def test_readme_command(line, trained, named, tmp_path, monkeypatch):
    """Every command runs: those that train, on the small scene and briefly; those that install, as far as a dry run."""
    words = shlex.split(line)
    checkpoint = str(trained / "checkpoints/best.ckpt")
    if words[0] == "make":
        ran = subprocess.run(["make", "--dry-run", *words[1:]], capture_output=True, text=True, cwd=ROOT)
        assert ran.returncode == 0 and ".venv/bin/python" in ran.stdout
        return
    if words[0] in ("git", "cd", "pytest") or words[:3] == ["python", "-m", "venv"] or ".venv/bin/activate" in line:
        return  # what brought us here
    if words[0] == "pip":
        dry = [sys.executable, "-m", *words, "--dry-run", "--quiet", "--no-deps"]
        ran = subprocess.run(dry, capture_output=True, text=True, cwd=ROOT)
        assert ran.returncode == 0, ran.stderr
        return
    assert words[0] == "python", f"no test knows how to run {line!r}"
    if words[1].startswith("data/"):
        compile((ROOT / words[1]).read_text(), words[1], "exec")  # a download: its parts have tests of their own
        return
    tool = words[1].removeprefix("tools/").removesuffix(".py")
    if tool == "results":
        runpy.run_path(str(ROOT / words[1]))
        return
    arguments = [re.sub(r"(checkpoint|initial)=\S+", rf"\1={checkpoint}", word) for word in words[2:]]
    arguments = [word for word in arguments if not word.startswith(("record=", "data.dataset.root="))]
    where = [f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/run"]
    if tool == "train":
        experiment = next((w.split("=")[1] for w in arguments if w.startswith("experiment=")), "shapes")
        data = next((w.split("=")[1] for w in arguments if w.startswith("data=")), data_of(experiment))
        arguments = [w for w in arguments if not w.startswith(("data.dataset.splits", "trainer.max_epochs"))]
        arguments = [re.sub(r"^seed=[\d,]+", "seed=0", word) for word in arguments]  # of a sweep, the rest is swept
        if experiment in classification_experiments():
            tiny = [w for w in DIGITS if not w.startswith(("experiment", "data."))]
            offline = [] if experiment == "digits" else OFFLINE
            return command(tool, *arguments, *data_overrides(data, tmp_path), *tiny, *offline, *where)
        changed = {word.split("=")[0] for word in arguments}
        tiny = [word for word in TINY if word.split("=")[0] not in changed]
        tiny = [word.removeprefix("decoder.") for word in tiny]  # of whichever decoder
        arguments += [*data_overrides(data, tmp_path), *tiny, *(SHAPES if data == "shapes" else [])]
    elif tool == "compare":
        names = ("model", "row_lstm", "row_mlp") if "row_" in line else ("decoder", "lstm", "mlp")
        for name in names[1:]:
            shutil.copytree(named if "row_" in line else trained, tmp_path / "runs" / name)
            file = tmp_path / "runs" / name / "record.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "options": [f"{names[0]}={name}"]}))
        arguments = [re.sub(r"runs=.*", f"runs={tmp_path}/runs", word) for word in arguments]
    elif tool == "predict":
        write_voc(tmp_path / "data")
        arguments = [re.sub(r"source=.*", f"source={tmp_path}/data/JPEGImages", word) for word in arguments]
        where = [*where, f"output_dir={tmp_path}/found"]
    command(tool, *arguments, *where)


def test_readme_python(trained, monkeypatch, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    uses = [block for block in blocks if "load(" in block]
    assert uses
    Image.effect_noise((70, 50), 90).convert("RGB").save(tmp_path / "picture.jpg")
    monkeypatch.chdir(tmp_path)
    for block in uses:
        block = re.sub(r"load\([^)]*\)", f"load({str(trained / 'checkpoints/best.ckpt')!r})", block)
        exec(compile(block, "README.md", "exec"), {})
