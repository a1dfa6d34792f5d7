"""Worker processes: how many are too many, and how Ctrl-C is kept from them."""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

from jaxreid.errors import InputError
from jaxreid.processors import usable_processors

__all__ = ["blocking_interrupts", "check_workers"]

_PER_PROCESSOR, _ALWAYS = 4, 64


def check_workers(workers: int, *, least: int) -> int:
    """The same number; InputError below `least`, or above both 64 and four per processor."""
    most = max(_ALWAYS, _PER_PROCESSOR * usable_processors())
    if not least <= workers <= most:
        limits = f"{least} or more" if workers < least else f"at most {most} on this machine"
        raise InputError(f"workers must be {limits}, got {workers}")
    return workers


@contextlib.contextmanager
def blocking_interrupts() -> Iterator[None]:
    """Blocks SIGINT, which processes started in the block inherit: Ctrl-C goes to a whole group.

    They would print tracebacks; who started them gets the signal after the block, and ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # When it starts, the tracker that multiprocessing runs beside workers unblocks the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
