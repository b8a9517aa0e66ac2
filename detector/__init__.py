"""Detecting objects as a sequence."""

import detector.runs.incidental  # noqa: F401  conf/comparison.yaml asks for its resolver, whoever composes it


def __getattr__(name: str):
    if name == "load":  # imported when asked for: the commands' --help is to answer without PyTorch
        from detector.checkpoint import load

        return load
    raise AttributeError(f"module 'detector' has no attribute {name!r}")
