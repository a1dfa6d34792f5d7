"""Signals that ask a command to stop: it cleans up, says one line and exits with 75."""

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import Any

__all__ = ["PREEMPTED", "StopSignals", "Stopped", "die_at_once", "stop_signals"]

PREEMPTED = 75
"""Exit code of a run that was asked to stop and goes on when it is typed again."""

# What schedulers and closing terminals send.
_NAMES = ("SIGTERM", "SIGHUP")


class Stopped(BaseException):
    """A signal asked to stop. No `Exception`: nothing on the way may take it for a failure."""


class StopSignals:
    """Makes exceptions of signals; `name` is that of the first, such as "SIGTERM", or "".

    Args:
        until_exit: whether the process ends after this, so that `decided` may change it for good.
    """

    def __init__(self, *, until_exit: bool = False) -> None:
        self.name = ""
        self._until_exit = until_exit
        self._decided = False
        self._requests: list[BaseException] = []
        self._sending = threading.RLock()
        self._nothing_to_send = threading.Event()
        self._nothing_to_send.set()
        self._hook = sys.unraisablehook
        self._handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._handlers = _disposable()

    def begin(self) -> None:
        """From now on."""
        for number in self._handlers:
            signal.signal(number, self._stop)
        if self._handlers:
            sys.unraisablehook = self._raise_again

    def decided(self) -> None:
        """From now on no signal changes the exit code, if this process ends after the block."""
        if not self._until_exit or self._decided:
            return
        self._decided = True
        self._send_no_more()
        # Ignored by the system, not by a handler: while Python ends it takes handlers away, and a
        # SIGTERM then kills it, which launchers answer by starting again what was done. It ends
        # without being asked to: processes of a run wait a minute at most for each other
        # (`distributed.initialize`). Who cannot wait, or where a thread hangs, has SIGKILL.
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)

    def end(self) -> None:
        """Gives the signals back to their handlers, unless they are to be ignored."""
        self._send_no_more()
        self._requests.clear()
        # Who put a hook before this one meanwhile keeps it: checkpoints do, until the process ends.
        if sys.unraisablehook == self._raise_again:
            sys.unraisablehook = self._hook
        if not self._decided:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._decided:
            return
        if _swallowed(frame):
            self._send_again(number)
            return
        self._send_no_more()
        signal.signal(number, self._handlers[number])
        self.name = signal.Signals(number).name
        self._requests.append(
            KeyboardInterrupt() if number == signal.SIGINT else Stopped(self.name)
        )
        raise self._requests[-1]

    def _raise_again(self, args: Any) -> None:
        """Callbacks of weak references, too, and generators that are closed drop what is raised."""
        if not any(args.exc_value is request for request in self._requests):
            self._hook(args)
            return
        if self._decided:
            return
        number = signal.Signals[self.name]
        signal.signal(number, self._stop)
        self._send_again(number)

    def _send_again(self, number: int) -> None:
        if not self._nothing_to_send.is_set():
            return
        self._nothing_to_send.clear()

        def send() -> None:
            # More than once: what comes just before Python waits for something does not wake it up.
            while not self._nothing_to_send.wait(0.02):
                with self._sending:
                    if not self._nothing_to_send.is_set():
                        os.kill(os.getpid(), number)

        threading.Thread(target=send, daemon=True).start()

    def _send_no_more(self) -> None:
        with self._sending:
            self._nothing_to_send.set()


@contextlib.contextmanager
def stop_signals(*, until_exit: bool = False) -> Iterator[StopSignals]:
    """Raises Stopped in the block when a signal asks to stop; a second one ends the process.

    Ctrl-C raises KeyboardInterrupt, as always. A signal that is handled or ignored already stays
    so; and training handles them itself while it runs, to save first. Outside of the main thread
    nothing changes. The exception is raised when Python runs again: at the end of a compilation,
    for example.

    Args:
        until_exit: whether the process ends after the block: once its outcome is `decided`, nothing
            stops it any more.
    """
    signals = StopSignals(until_exit=until_exit)
    try:
        signals.begin()
        yield signals
    finally:
        signals.end()


def _disposable() -> dict[int, Any]:
    """Signals with their default handler, and that handler."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    default = dict[int, Any].fromkeys(numbers, signal.SIG_DFL)
    usual = {**default, signal.SIGINT: signal.default_int_handler}
    return {number: what for number, what in usual.items() if signal.getsignal(number) is what}


def _swallowed(frame: FrameType | None) -> bool:
    """Whether an exception raised here would be dropped, or become another one.

    So do destructors, callbacks of the garbage collector, as JAX has one, and modules written in C
    that import others while they are imported.
    """
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in callbacks:
            return True
        if isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def die_at_once() -> Iterator[None]:
    """Lets signals end the process during a wait in C, where no Python handler would run.

    Nothing may have been begun that has to be cleaned up.
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
