"""Kinds of values that users type, and the command line as they typed it."""

import math
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from jaxreid.constants import (
    LARGEST_BATCH,
    LARGEST_SEED,
    LONGEST_SIDE,
    MOST_DIMENSIONS,
    MOST_EPOCHS,
    MOST_RESTARTS,
    MOST_STEPS,
    MOST_WORKERS,
)

__all__ = [
    "BATCH",
    "CAMERAS",
    "CLASSES",
    "DEVICES",
    "DIMENSIONS",
    "EPOCHS",
    "IDENTITY",
    "IMAGES",
    "PROCESSES",
    "REPEATS",
    "RESTARTS",
    "ROWS",
    "SEED",
    "STEPS",
    "WORKERS",
    "Command",
    "Place",
    "Real",
    "Seeds",
    "Size",
    "Whole",
    "Words",
    "add_options",
    "command_line",
    "data_dir_option",
]

# What numbers on the command line may be, where jaxreid.constants does not say it for all.
_MOST_SEEDS = 1000  # every one attacks all images again
_LONGEST_NUMBER = 60  # digits, in a message; Python reads no more than 4,300


Command = TypeVar("Command", bound=Callable[..., object])
"""What stands below a decorator of click."""


class Whole(click.IntRange):
    """click's, with a line of a few words whatever is typed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Reads a whole number."""
        if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
            expected = f"a whole number in the range {self._describe_range()}"
            self.fail(f"expected {expected}, got {_short(value)}", param, ctx)
        return super().convert(value, param, ctx)


SEED = Whole(0, LARGEST_SEED)
"""Of random numbers."""
STEPS = Whole(1, MOST_STEPS)
"""Of gradients."""
RESTARTS = Whole(1, MOST_RESTARTS)
"""Of an attack."""
REPEATS = Whole(1, 10_000)
"""Rounds of a benchmark."""
EPOCHS = Whole(1, MOST_EPOCHS)
"""Of training."""
BATCH = Whole(1, LARGEST_BATCH)
"""Images at a time."""
IMAGES = Whole(1, 1_000_000_000)
"""Of a dataset; the largest of re-identification have millions."""
ROWS = Whole(0, 100_000)
"""Of something that is looked at."""
WORKERS = Whole(0, MOST_WORKERS)
"""Processes on one machine."""
PROCESSES = Whole(1, 100_000)
"""Of a run over several machines."""
DEVICES = Whole(1, 4096)
"""Of one process."""
CLASSES = Whole(1, 10_000_000)
"""Identities that a classifier tells apart: a layer of 80 GB."""
DIMENSIONS = Whole(1, MOST_DIMENSIONS)
"""Of features."""
CAMERAS = Whole(0, 1_000_000)
"""Numbers of cameras."""
IDENTITY = Whole(0, 1_000_000_000)
"""Number of a person in file names."""


class Real(click.ParamType):
    """A finite number in a range; click's own takes NaN for one.

    Args:
        low: the least.
        high: the most.
    """

    name = "number"

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Reads a number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self._low <= number <= self._high:
            expected = f"a number from {self._low:g} to {self._high:g}"
            self.fail(f"expected {expected}, got {_short(value)}", param, ctx)
        return number


class Place(click.Path):
    """click's, as a Path; an empty text, as of a variable that is not set, is none.

    Args:
        file_okay: whether it may be a file.
        dir_okay: whether it may be a folder.
    """

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Reads a path."""
        # Path("") is the current folder, which would fill with what was meant for another.
        if not os.fspath(value):
            self.fail("expected a path, got an empty text; the current folder is .", param, ctx)
        return super().convert(value, param, ctx)


class Size(click.ParamType):
    """HEIGHTxWIDTH in pixels."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Reads a size."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        sides = [_whole(part, LONGEST_SIDE) for part in parts]
        if len(sides) != 2 or not all(sides):
            self.fail(
                f"expected HEIGHTxWIDTH such as 256x128, sides from 1 to {LONGEST_SIDE}, "
                f"got {_short(value)}",
                param,
                ctx,
            )
        return sides[0], sides[1]  # type: ignore[return-value]


class Seeds(click.ParamType):
    """How many seeds, counted from 0, or a list of them."""

    name = "N|A,B,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Reads seeds."""
        if isinstance(value, tuple):
            return value
        most = LARGEST_SEED if "," in value else _MOST_SEEDS
        seeds = [_whole(part, most) for part in _parts(str(value))]
        if not seeds or None in seeds or value == "0":
            self.fail(
                f"expected a count such as 3, up to {_MOST_SEEDS}, or seeds such as 0,7, up to "
                f"{LARGEST_SEED}; got {_short(value)}",
                param,
                ctx,
            )
        if "," not in value:
            return tuple(range(seeds[0]))  # type: ignore[arg-type]
        return tuple(dict.fromkeys(seeds))  # type: ignore[arg-type]


class Words(click.ParamType):
    """Words with commas between them."""

    name = "A,B,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Reads a list of words."""
        return value if isinstance(value, tuple) else tuple(_parts(str(value)))


def _parts(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _whole(text: str, most: int) -> int | None:
    """A number from 0 to `most`, or None; Python refuses to read very long ones."""
    short = text.isdecimal() and len(text.lstrip("0")) <= len(str(most))
    return int(text) if short and int(text) <= most else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_NUMBER else f"{text[:50]}... ({len(text)} characters)"


def add_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Adds options that several commands share.

    Args:
        command: the function below.
        options: from `click.option`, in the order in which the help lists them.

    Returns:
        The same with options.
    """
    for option in reversed(options):
        command = option(command)
    return command


def data_dir_option(command: Command) -> Command:
    """Adds `--data-dir`.

    Args:
        command: the function below.

    Returns:
        The same with the option.
    """
    return click.option(
        "--data-dir",
        type=Place(file_okay=False),
        help="Where prepared datasets are kept.  [default: $TFDS_DATA_DIR or "
        "~/tensorflow_datasets]",
    )(command)


def command_line() -> str:
    """The words the user typed.

    Returns:
        The command, quoted for a shell.
    """
    words = click.get_current_context().find_root().obj or ()
    return shlex.join(["jaxreid", *words])
