"""The one exception for what a person can mend: the commands print its sentence without a traceback."""


class InputError(ValueError):
    """A wrong path, name, option or file: says what was found, what was expected and how to mend it."""
