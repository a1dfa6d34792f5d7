"""Progress on standard error, with the time that is left: bars on a terminal, lines elsewhere."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bars", "progress_bars"]

_LINE_SECONDS = 30.0
# After this much silence a line says that work goes on: programs compile, with nothing to count.
_SILENT_SECONDS = 15.0
# And again after as much as there was, up to this.
_SILENT_AGAIN_SECONDS = 60.0


@dataclass
class _Clock:
    """When a kind of work began, how much was done then, and when a line was last printed.

    What is done first waits for programs to compile: once there is more, only that tells the speed.
    """

    begin: float
    first: int
    printed: float
    compiled: bool = False

    def seconds_left(self, now: float, done: int, total: int) -> float:
        """Seconds that are left, or a bound on them until something was done after compiling."""
        return (now - self.begin) / max(done - self.first, 1) * (total - done)

    def leave_out_compiling(self, now: float, done: int) -> None:
        """Begins anew with the first that is done."""
        if not self.compiled and done > self.first:
            self.begin, self.first, self.compiled = now, done, True


class Bars:
    """A bar per kind of work, from its beginning; or with `lines`, a line on it per half minute."""

    def __init__(self, bars: "Progress", *, lines: bool = False) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, tuple[int, int]] = {}
        self._lines, self._clocks = lines, dict[str, _Clock]()
        # When anything was last heard of, said or counted, and the silence to break next: these
        # two are of both threads.
        self._doing, self._heard, self._next_beat = "", time.monotonic(), 0.0
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Shows how much of the kind of work `what` is done; less after its end is work anew."""
        before, end = self._last.get(what, (-1, -1))
        begins = what not in self._last or (before >= end and done < before)
        self._last[what] = done, total
        if self._lines:
            self._line(what, done, total, note, begins=begins)
            return
        if begins:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total, note="")
            # A resumed run did not do these steps now: its speed is that of the others.
            self._bars.reset(self._tasks[what], total=total, completed=max(done - 1, 0))
        self._bars.update(self._tasks[what], completed=done, total=total, note=note)

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        self._news()
        self._print(text)

    def _line(self, what: str, done: int, total: int, note: str, *, begins: bool) -> None:
        now = self._news()
        self._doing = f"{what} {done:,} of {total:,}"
        if begins:
            self._clocks[what] = _Clock(now, done, now)
        clock = self._clocks[what]
        left, bound = clock.seconds_left(now, done, total), not clock.compiled and done < total
        clock.leave_out_compiling(now, done)
        if now - clock.printed < _LINE_SECONDS:
            return
        clock.printed = now
        at_most = "at most " if bound else ""
        text = f"{what} {done:,} of {total:,}, {at_most}{left / 60:.0f} min left"
        self.say(f"{text}: {note}" if note else text)

    def beat(self) -> None:
        """With `lines`, says that work goes on where nothing was heard of it for a while."""
        with self._lock:
            silent = time.monotonic() - self._heard
            if not self._lines or silent < max(self._next_beat, _SILENT_SECONDS):
                return
            self._next_beat = silent + min(silent, _SILENT_AGAIN_SECONDS)
        doing = self._doing or "opening"
        self._print(f"{doing}: still at work, or compiling, for {silent:.0f} s")

    def _print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _news(self) -> float:
        """Ends a silence; gives the time."""
        now = time.monotonic()
        with self._lock:
            self._heard, self._next_beat = now, 0.0
        return now


def _beating(bars: Bars, over: threading.Event) -> None:
    while not over.wait(1):
        bars.beat()


@contextlib.contextmanager
def progress_bars(*, shown: bool = True) -> Iterator[Bars]:
    """Shows progress while the block runs; of several processes, only one is `shown`."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, quiet=not shown)
    bars = Progress(
        TextColumn("{task.description:<15}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    shower, over = Bars(bars, lines=not console.is_terminal), threading.Event()
    with bars:
        beats = threading.Thread(target=_beating, args=(shower, over), daemon=True)
        if shown and not console.is_terminal:
            beats.start()
        try:
            yield shower
        finally:
            over.set()
