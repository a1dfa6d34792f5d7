"""Progress on standard error: one bar per kind of work, with the time that is left."""

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["Bars", "progress_bars"]


class Bars:
    """Bars that appear when their work begins; called with what is done, done so far, and all.

    Args:
        bars: of rich.
    """

    def __init__(self, bars: Any) -> None:
        self._bars, self._tasks = bars, dict[str, Any]()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows how far something is."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)

    def say(self, text: str) -> None:
        """Prints a line above the bars.

        Args:
            text: as it shall stand there.
        """
        self._bars.console.print(text, markup=False, highlight=False)


@contextlib.contextmanager
def progress_bars(*, shown: bool = True) -> Iterator[Bars]:
    """Shows bars while the block runs.

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

    bars = Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, quiet=not shown),
    )
    with bars:
        yield Bars(bars)
