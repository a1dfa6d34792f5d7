"""The error that means bad input, and the errors of the operating system that mean a bad disk."""

import difflib
import errno
from collections.abc import Iterable, Sequence

__all__ = [
    "InputError",
    "did_you_mean",
    "first_line",
    "is_of_the_disk",
    "listed",
    "reason_of",
]

# No other file name would help: space, quota, size, input and output, open files.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE)


class InputError(ValueError):
    """Bad input; the message names the file, field or shape and says what was expected.

    The command line prints the message as one line and exits with 2; every other exception is a
    fault of the run (exit 1).
    """


def is_of_the_disk(error: OSError) -> bool:
    """Whether the system refused: a disk full, over its quota or broken, too many open files."""
    return error.errno in _DISK


def reason_of(error: BaseException) -> str:
    """An error in one line for a message that names the file: the system's words if it has any."""
    said = getattr(error, "strerror", None) or " ".join(str(error).split())
    return str(said) if said else type(error).__name__


def did_you_mean(wanted: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Suggests a known name, such as "did you mean 'goat.eps'?"; "" where nothing is near.

    `cutoff` is the least likeness, from 0 for any to 1 for the same.
    """
    near = difflib.get_close_matches(wanted, list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def listed(names: Sequence[str]) -> str:
    """Names in a message: the first eight of them, and how many more there are."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
