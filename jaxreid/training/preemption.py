"""A request to stop: SIGTERM, as schedulers send it before they take a machine away."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["StopRequest", "stop_requests"]


class StopRequest:
    """Whether this process was asked to stop.

    Attributes:
        made: set once, never taken back.
    """

    def __init__(self) -> None:
        self.made = False


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listens to SIGTERM instead of dying of it; a second one ends the process as usual.

    Outside the main thread, where Python hears no signals, nothing is ever requested.

    Yields:
        The request.
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
