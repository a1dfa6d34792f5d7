"""A request to stop: SIGTERM, as schedulers send it before they take a machine away."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = ["StopRequest", "StoppedEarly", "stop_requests"]


class StoppedEarly(Exception):  # noqa: N818
    """A request to stop came before the first step; its argument is the run's Position."""


class StopRequest:
    """Whether this process was asked to stop.

    The processes of a run must stop at the same step. While they train, each step adds up the
    requests of all devices (`on_devices`) beside its own work; before the first step, which may
    take minutes to compile, they ask each other (`anywhere`).

    Attributes:
        made: set once, never taken back.
    """

    def __init__(self) -> None:
        self.made = False

    def on_devices(self) -> np.ndarray:
        """For a mapped function that sums it over the devices: [local devices] float32, 1 or 0."""
        return np.full(jax.local_device_count(), self.made, np.float32)

    def anywhere(self) -> bool:
        """Whether some process of the run was asked to stop; all of them call this together."""
        if jax.process_count() == 1:
            return self.made
        return bool(np.any(multihost_utils.process_allgather(np.array(self.made, np.float32))))


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listens to SIGTERM instead of dying of it; a second one ends the process as usual.

    Outside the main thread, where Python hears no signals, nothing is ever requested.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.getsignal(signal.SIGTERM)

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        request.made = True
        signal.signal(number, before if callable(before) else signal.SIG_DFL)

    signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
