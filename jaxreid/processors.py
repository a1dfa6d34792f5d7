"""How many processors a process may use: under Slurm or taskset fewer than the machine has."""

import os

__all__ = ["usable_processors"]


def usable_processors() -> int:
    """How many processors this process may run on, which is how many threads XLA starts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
