"""Which of the two tasks a command is asked for."""

from __future__ import annotations

from types import ModuleType

from detector.build import is_classification
from detector.commands import classification, detection


def work_of(config: dict) -> ModuleType:
    """What a training run does in the task of its config, in functions of the same names in both modules."""
    return classification if is_classification(config) else detection
