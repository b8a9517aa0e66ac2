"""Weights that have to be fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from detector.errors import InputError


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Say in one sentence that weights cannot be fetched."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the ImageNet weights of {name} cannot be downloaded ({error}); take backbone=efficientnet_lite0, whose "
            "weights are installed, or backbone.weights=null"
        ) from error
