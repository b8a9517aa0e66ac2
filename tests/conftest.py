"""Shapes and types of every annotated function are checked while the tests run."""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import warnings

import jaxtyping

with warnings.catch_warnings():  # what other people's packages warn of when first imported is not ours to mend
    warnings.simplefilter("ignore")
    import albumentations  # noqa: F401
    import lightning  # noqa: F401
    import timm  # noqa: F401
    import torch  # noqa: F401

    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))  # or the processes wait for each other
    jaxtyping.install_import_hook("detector", "typechecker.checked")

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the project."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The directory of a tiny run."""
    from running import SHAPES, TINY, command

    folder = tmp_path_factory.mktemp("run")
    command("train", *TINY, *SHAPES, f"hydra.run.dir={folder}")
    return folder


@pytest.fixture(scope="session")
def named(tmp_path_factory) -> Path:
    """The directory of a tiny run of the classification task."""
    from running import DIGITS, command

    folder = tmp_path_factory.mktemp("named")
    command("train", *DIGITS, f"hydra.run.dir={folder}")
    return folder
