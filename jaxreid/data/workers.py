"""How many processes are too many."""

import os

from jaxreid.errors import InputError

__all__ = ["check_workers"]

_PER_PROCESSOR, _ALWAYS = 4, 64


def check_workers(workers: int, *, least: int) -> int:
    """Refuses numbers of processes that no machine of this size can mean.

    Args:
        workers: as asked for.
        least: the smallest that has a meaning.

    Returns:
        The same.

    Raises:
        InputError: fewer than `least`, or more than 64 and than four per processor.
    """
    most = max(_ALWAYS, _PER_PROCESSOR * (os.cpu_count() or 1))
    if not least <= workers <= most:
        limits = f"{least} or more" if workers < least else f"at most {most} on this machine"
        raise InputError(f"workers must be {limits}, got {workers}")
    return workers
