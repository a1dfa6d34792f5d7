"""How long work takes, and how long compilation takes beside it."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import jax
import jax.monitoring

__all__ = ["Stopwatch", "covered", "stopwatch"]

# Tracing, lowering and XLA; also what a cache of compiled programs takes to be read.
_COMPILATION = "/jax/core/compile/"


def covered(spans: Iterable[tuple[float, float]], start: float, end: float) -> float:
    """Length of an interval that (start, end) spans cover; where they overlap it counts once."""
    total, reached = 0.0, start
    for begin, stop in sorted(spans):
        begin, stop = max(begin, reached), min(stop, end)
        if stop > begin:
            total += stop - begin
            reached = stop
    return total


@dataclass
class Stopwatch:
    """A running measurement.

    Attributes:
        begin: when it started, in seconds of time.perf_counter.
        spans: of compilation since then, in the same.
    """

    begin: float
    spans: list[tuple[float, float]] = field(default_factory=list)

    def read(self) -> tuple[float, float]:
        """Seconds of work and seconds of compilation since it started."""
        now = time.perf_counter()
        compilation = covered(self.spans, self.begin, now)
        return now - self.begin - compilation, compilation


@contextlib.contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measures a block; compilation is seen until the block ends.

    Functions that are compiled within functions report spans of their own, one within the other.
    """
    watch = Stopwatch(time.perf_counter())

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event.startswith(_COMPILATION):
            now = time.perf_counter()
            watch.spans.append((now - duration_secs, now))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield watch
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
