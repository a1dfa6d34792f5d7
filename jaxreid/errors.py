"""The one exception that means: what was given is wrong, and here is what was expected."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input; the message names the file, field or shape and says what was expected.

    The command line prints the message as one line and exits with 2; every other exception is a
    fault of the run (exit 1).
    """
