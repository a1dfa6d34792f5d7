"""Signals that ask a command to stop: it cleans up, says one line and exits with 75."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["PREEMPTED", "StopSignals", "Stopped", "die_at_once", "stop_signals"]

PREEMPTED = 75
"""Exit code of a run that was asked to stop and goes on when it is typed again."""

# What schedulers and closing terminals send. Of an interrupt (Ctrl-C) Python itself makes an
# exception.
_NAMES = ("SIGTERM", "SIGHUP")


class Stopped(BaseException):
    """A signal asked to stop. No `Exception`: nothing on the way may take it for a failure."""


class StopSignals:
    """What has come.

    Attributes:
        name: of the first signal, such as "SIGTERM"; "" if none has come.
    """

    def __init__(self) -> None:
        self.name = ""


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Raises Stopped in the block when a signal asks to stop; a second one ends the process.

    Whoever listens to a signal already, or ignores it, goes on doing so; and training listens by
    itself while it runs, to save first. Outside of the main thread nothing changes. The exception
    comes when Python runs again: at the end of a compilation, for example.

    Yields:
        What has come: a library may have swallowed the exception.
    """
    come, ours = StopSignals(), []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        come.name = signal.Signals(number).name
        raise Stopped(come.name)

    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, stop)
        yield come
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def die_at_once() -> Iterator[None]:
    """Lets signals end the process during a long wait in which Python cannot hear them.

    Nothing may have been begun that has to be cleaned up.

    Yields:
        Nothing.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: found for n in numbers if callable(found := signal.getsignal(n))}
    try:
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)
