"""Standard input, output and error as a command needs them, whatever it was given."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["discard", "sound_streams"]


@contextlib.contextmanager
def sound_streams() -> Iterator[None]:
    """Sees to it that printing in the block cannot fail for want of a stream or of a letter.

    A closed stream is the null device: the next file that is opened would get its number, and
    whatever prints to that number would be in the file. Letters that the encoding of a stream does
    not have are printed as backslash and number.

    Yields:
        Nothing.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given out: this one.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    with contextlib.ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
                stack.callback(_strict_again, stream)
        yield


def _strict_again(stream: io.TextIOWrapper) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.reconfigure(errors="strict")


def discard(*streams: Any) -> None:
    """Lets what is and will be printed to streams vanish, so that Python's exit does not fail.

    Args:
        *streams: as they stand in `sys`.
    """
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
