"""docs/architecture.md is true: the files that run, in the order in which they do, and every path that is named."""

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scenes import ROOT, run_config

import detector
from detector.build import build_datamodule, build_task
from detector.training.task import Task

PACKAGE = f"{Path(detector.__file__).parent}/"
ARCHITECTURE = ROOT / "docs/architecture.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def files_run(work: Callable[[], None]) -> list[str]:
    """The files of the package whose functions are called, in the order of their first calls; those that only gather
    what a folder offers (`__init__.py`) are left out."""
    found: dict[str, None] = {}

    def note(frame, event, argument):
        file, is_function = frame.f_code.co_filename, frame.f_code.co_flags & inspect.CO_OPTIMIZED  # or a class's body
        if event == "call" and is_function and file.startswith(PACKAGE) and not file.endswith("__init__.py"):
            found[f"detector/{file.removeprefix(PACKAGE)}"] = None

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return list(found)


def files_listed(heading: str) -> list[str]:
    """The files of the package that a section of the document names, in its order."""
    sections = re.split(r"^## ", ARCHITECTURE.read_text(), flags=re.MULTILINE)
    (section,) = [section for section in sections if section.startswith(f"{heading}\n")]
    return list(dict.fromkeys(re.findall(r"`(detector/[\w/]+\.py)`", section)))


@pytest.fixture
def run(tmp_path) -> dict:
    """The default run with few images."""
    return run_config(tmp_path, "data.dataset.splits={train: 8, val: 2, test: 2}")


def test_the_files_that_build_a_run(run):
    def build():
        build_task(run, build_datamodule(run).class_names)

    assert files_run(build) == files_listed("Building a run")


def test_the_files_of_a_training_step(run, monkeypatch):
    monkeypatch.setattr(Task, "log", lambda *args, **options: None)  # there is no trainer to log to
    monkeypatch.setattr(Task, "log_dict", lambda *args, **options: None)
    data = build_datamodule(run)
    task = build_task(run, data.class_names).train()
    optimizer, batches = torch.optim.AdamW(task.parameters()), iter(data.train_dataloader())

    def step():
        task.training_step(next(batches), 0).backward()
        optimizer.step()

    assert files_run(step) == files_listed("A training step")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_path_named_exists(document):
    text = document.read_text()
    named = set(re.findall(r"\b(?:benchmarks|conf|detector|docs|tests|tools)/[\w./-]*\w", text))
    named = {path for path in named if Path(path).stem not in ("mine", "test_mine")}  # what a reader is to write
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert named and not [path for path in named if not (ROOT / path).exists()]
    assert not [path for path in links if not (document.parent / path).exists()]
