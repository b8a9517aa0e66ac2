"""What a record says of the code and of the data of a run."""

import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from scenes import data_overrides, run_config, write_voc

import detector
from detector.build import build_datamodule
from detector.data.dataset import DetectionDataset
from detector.runs.record import commit, fingerprint


def git(folder, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder that passes for the package's, in a repository of its own."""
    if not shutil.which("git"):
        pytest.skip("no git")
    folder = tmp_path / "clone/detector"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (tmp_path / "clone/.gitignore").write_text("outputs/\n")
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a")
    monkeypatch.setattr(detector, "__file__", str(folder / "__init__.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return folder


def test_the_commit_is_that_of_the_package_and_new_files_count(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there is no repository
    clean = git(package, "rev-parse", "--short=12", "HEAD")
    assert commit() == clean
    (package.parent / "outputs").mkdir()
    (package.parent / "outputs/record.json").write_text("")
    assert commit() == clean  # git ignores what runs write
    (package / "mine.py").write_text("")
    assert commit() == f"{clean}+"
    (package / "mine.py").unlink()
    (package / "__init__.py").write_text("changed = True\n")
    assert commit() == f"{clean}+"


def test_without_a_repository_of_the_package_the_version_is_recorded(package, monkeypatch):
    installed = package.parent / "outputs/site-packages/detector"  # in a repository that ignores it
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(detector, "__file__", str(installed / "__init__.py"))
    found = [SimpleNamespace(version="1.2.3")]
    monkeypatch.setattr("detector.runs.record.distributions", lambda name: iter(found))
    assert commit() == "no git repository: detector 1.2.3"
    shutil.rmtree(package.parent / ".git")
    assert commit() == "no git repository: detector 1.2.3"
    found.clear()
    assert commit() == "no git repository: detector (not installed)"


def of_test(tmp_path, *overrides: str) -> DetectionDataset:
    return build_datamodule(run_config(tmp_path, *overrides)).test


def prints(dataset: DetectionDataset) -> str:
    return fingerprint(dataset, {record.image_id for record in dataset.records})


@pytest.mark.parametrize("data", ["voc_folder", "coco_folder"])
def test_the_same_images_elsewhere_have_the_same_fingerprint(data, tmp_path):
    made = {}
    for folder in ("here", "there/else"):
        overrides = data_overrides(data, tmp_path / folder)
        made[folder] = of_test(tmp_path, f"data={data}", *overrides)
    here, there = made.values()
    assert here.records[0].path != there.records[0].path and prints(here) == prints(there)
    assert fingerprint(here, {here.records[0].image_id}) != prints(here)  # of the tested images alone
    for change in (
        lambda record: record.boxes.__setitem__((0, 0), record.boxes[0, 0] + 1),
        lambda record: record.labels.__setitem__(0, 1 - record.labels[0]),
        lambda record: record.ignored.__setitem__(0, True),
        lambda record: setattr(record, "size", (61, 80)),
        lambda record: setattr(record, "path", record.path.with_name("other.png")),
    ):
        before = prints(there)
        change(there.records[0])
        assert prints(there) != before


def test_the_fingerprint_of_generated_pictures_tells_their_options_and_no_more(tmp_path):
    splits = "data.dataset.splits={train: 4, val: 2, test: 3}"
    given = prints(of_test(tmp_path, splits))
    assert given == prints(of_test(tmp_path, splits, "seed=3", "data.canvas=[96,96]", "data.batch_size=2"))
    others = {prints(of_test(tmp_path, splits, f"data.dataset.{option}"))
              for option in ("crowding=0.5", "objects=[3,3]", "side=[30,64]")}
    assert len(others | {given}) == 4


def test_the_order_of_the_class_names_does_not_change_the_fingerprint(tmp_path):
    root = write_voc(tmp_path / "data")
    splits = "data.dataset.splits={train: all, val: all, test: all}"
    overrides = ["data=voc_folder", f"data.dataset.root={root}", splits]
    one, other = (of_test(tmp_path, *overrides, f"data.dataset.class_names=[{n}]") for n in ("cat,dog", "dog,cat"))
    assert not np.array_equal(one.records[0].labels, other.records[0].labels) and prints(one) == prints(other)
