"""Fair timing on shared machines: contestants take turns, ratios are taken pair by pair."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

__all__ = ["Timing", "interleave", "ratio"]


class Timing(NamedTuple):
    """Seconds of one contestant.

    Attributes:
        first: seconds of the first call, compilation included.
        runs: seconds of each later call, in order; runs[i] of all contestants were neighbours.
    """

    first: float
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds of the calls after the first."""
        return statistics.median(self.runs)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def interleave(contestants: Mapping[str, Callable[[], Any]], *, repeats: int) -> dict[str, Timing]:
    """Times callables A B A B ...: a slow minute of the machine then hits all of them.

    Args:
        contestants: name -> callable without arguments; JAX results are waited for.
        repeats: timed calls of each, after one warm-up call that is kept apart.

    Returns:
        name -> its Timing.
    """
    first = {name: _seconds(call) for name, call in contestants.items()}
    runs: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, call in contestants.items():
            runs[name].append(_seconds(call))
    return {name: Timing(first[name], tuple(runs[name])) for name in contestants}


def ratio(numerator: Timing, denominator: Timing) -> float:
    """Median over rounds of numerator's seconds / denominator's seconds.

    Args:
        numerator: a Timing from `interleave`.
        denominator: another Timing from the same call.

    Returns:
        A number without unit; above 1 means that the numerator is slower.
    """
    pairs = zip(numerator.runs, denominator.runs, strict=True)
    return statistics.median(a / b for a, b in pairs)
