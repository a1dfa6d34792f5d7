"""Progress on standard error, with the time that is left: bars on a terminal, lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bars", "progress_bars"]

_LINE_SECONDS = 30.0


@dataclass
class _Clock:
    """When a kind of work began, with how much of it done, and when it was last spoken of."""

    begin: float
    first: int
    said: float


class Bars:
    """One bar per kind of work, from its beginning; or a line on each, every half minute.

    Args:
        bars: of rich.
        lines: whether to write lines instead.
    """

    def __init__(self, bars: "Progress", *, lines: bool = False) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._lines, self._clocks = lines, dict[str, _Clock]()

    def __call__(self, what: str, done: int, total: int, figures: str = "") -> None:
        """Shows how far something is.

        Args:
            what: names the kind of work.
            done: of it, so far.
            total: of it, in all.
            figures: whatever else is worth seeing.
        """
        if self._lines:
            self._line(what, done, total, figures)
            return
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, figures="")
            # A run that goes on has not done these steps now: they are no measure of its speed.
            self._bars.reset(self._tasks[what], total=total, completed=max(done - 1, 0))
        self._bars.update(self._tasks[what], completed=done, total=total, figures=figures)

    def say(self, text: str) -> None:
        """Prints a line above the bars.

        Args:
            text: as it shall stand there.
        """
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line(self, what: str, done: int, total: int, figures: str) -> None:
        now = time.monotonic()
        clock = self._clocks.setdefault(what, _Clock(now, done, now))
        if now - clock.said < _LINE_SECONDS:
            return
        clock.said = now
        left = (now - clock.begin) / max(done - clock.first, 1) * (total - done)
        text = f"{what} {done:,} of {total:,}, {left / 60:.0f} min left"
        self.say(f"{text}: {figures}" if figures else text)


@contextlib.contextmanager
def progress_bars(*, shown: bool = True) -> Iterator[Bars]:
    """Shows progress while the block runs.

    Args:
        shown: False for the processes of a run that shall be silent, all but the first.

    Yields:
        Bars to report to.
    """
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
        TextColumn("{task.fields[figures]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bars:
        yield Bars(bars, lines=not console.is_terminal)
