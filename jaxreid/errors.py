"""The error that means bad input, and the errors of the operating system that mean a bad disk."""

import errno

__all__ = ["InputError", "is_of_the_disk"]

# No other file name would help: space, quota, size, input and output, open files.
_DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EMFILE, errno.ENFILE),
)


class InputError(ValueError):
    """Bad input; the message names the file, field or shape and says what was expected.

    The command line prints the message as one line and exits with 2; every other exception is a
    fault of the run (exit 1).
    """


def is_of_the_disk(error: OSError) -> bool:
    """Whether a file could not be written though its name was right.

    Args:
        error: that was raised while something was written.

    Returns:
        True where the disk is full, over its quota or broken, or too many files are open.
    """
    return error.errno in _DISK
