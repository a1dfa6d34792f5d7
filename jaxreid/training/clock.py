"""How fast a run is, and how much of its time it waits for data."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

__all__ = ["Clock"]

T = TypeVar("T")


class Clock:
    """Images per second and the share of time spent waiting for data, pauses left out.

    Args:
        batch_size: images of a step, over all devices of all processes.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        # Compilation is no training: the clock starts when the first step is done.
        self._start: float | None = None
        self._steps, self._waited, self._paused = 0, 0.0, 0.0

    def waiting(self, fetch: Callable[[], T]) -> T:
        """Fetches data.

        Args:
            fetch: what is waited for.

        Returns:
            What it gives.
        """
        begin = time.perf_counter()
        data = fetch()
        self._waited += time.perf_counter() - begin
        return data

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of a block out.

        Yields:
            Nothing.
        """
        begin = time.perf_counter()
        yield
        self._paused += time.perf_counter() - begin

    def step_done(self) -> None:
        """A step is over."""
        if self._start is None:
            self._start, self._waited, self._paused = time.perf_counter(), 0.0, 0.0
        else:
            self._steps += 1

    def take(self) -> dict[str, float]:
        """Gives the figures since they were last asked for.

        Returns:
            `images_per_second` and `waiting_for_data` in [0, 1]; empty if no step was timed.
        """
        if self._start is None or not self._steps:
            return {}
        now = time.perf_counter()
        busy = max(now - self._start - self._paused, 1e-9)
        figures = {
            "images_per_second": self._steps * self._batch_size / busy,
            "waiting_for_data": self._waited / busy,
        }
        self._start, self._steps, self._waited, self._paused = now, 0, 0.0, 0.0
        return figures
