"""What the commands share: what a person can mend is said in one sentence, and before the work."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from hydra.errors import InstantiationException
from omegaconf.errors import MissingMandatoryValue

from detector.errors import InputError


def say_plainly(command: Callable) -> Callable:
    """Print an `InputError` as a sentence and end with exit code 2, without a traceback."""

    @functools.wraps(command)
    def wrapped(config):
        try:
            return command(config)
        except (InputError, MissingMandatoryValue, InstantiationException) as error:
            if isinstance(error, InstantiationException):
                if not isinstance(error.__cause__, InputError):
                    raise
                error = error.__cause__  # raised by what the config builds
            text = str(error)
            if text.startswith("Caught InputError in DataLoader worker"):  # with its traceback
                text = text.rpartition("InputError: ")[2].strip()
            print(f"error: {text}", file=sys.stderr)
            sys.exit(2)

    return wrapped


def require_writable(folder: Path, option: str) -> None:
    """Make the folder that an option names; raise `InputError` where it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{option}: nothing can be written to {folder} ({error.strerror}); give another") from error
