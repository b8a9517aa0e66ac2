"""What the commands share: what a person can mend is said in one sentence."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable

from omegaconf.errors import MissingMandatoryValue

from detector.errors import InputError


def say_plainly(command: Callable) -> Callable:
    """Print an `InputError` as a sentence and end with exit code 2, without a traceback."""

    @functools.wraps(command)
    def wrapped(config):
        try:
            return command(config)
        except (InputError, MissingMandatoryValue) as error:
            logging.getLogger(__name__).debug("refused", exc_info=True)
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapped
