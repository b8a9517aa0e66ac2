"""Detecting objects as a sequence."""


def __getattr__(name: str):
    if name == "load":  # imported when asked for: the commands' --help is to answer without PyTorch
        from detector.checkpoint import load

        return load
    raise AttributeError(f"module 'detector' has no attribute {name!r}")
