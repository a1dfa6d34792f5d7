"""Kinds of values that users type, options that commands share, and the command line as typed."""

import math
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from jaxreid.budgets import read_budget
from jaxreid.constants import (
    LARGEST_BATCH,
    LARGEST_SEED,
    LONGEST_SIDE,
    MOST_DIMENSIONS,
    MOST_EPOCHS,
    MOST_RESTARTS,
    MOST_STEPS,
    MOST_WORKERS,
    Distance,
    Filter,
)

__all__ = [
    "BATCH",
    "BUDGET",
    "BUDGETS",
    "CAMERAS",
    "CLASSES",
    "DEVICES",
    "DIMENSIONS",
    "DISTANCE",
    "EPOCHS",
    "FILTER",
    "IDENTITY",
    "IMAGES",
    "PROCESSES",
    "QUERIES",
    "REPEATS",
    "RESTARTS",
    "ROWS",
    "SEED",
    "SEEDS",
    "SIZE",
    "STEPS",
    "TITLE",
    "TOP",
    "WORDS",
    "WORKERS",
    "Command",
    "Kind",
    "Place",
    "Whole",
    "add_options",
    "command_line",
    "data_dir_option",
    "dtype_option",
    "json_option",
    "numbers_option",
    "real",
]

# What may be typed, where jaxreid.constants does not say it for all.
_MOST_SEEDS = _MOST_BUDGETS = 1000  # every one attacks all images again
_LONGEST_TITLE = 200
_LONGEST_NUMBER = 60  # digits, in a message; Python reads no more than 4,300

Command = TypeVar("Command", bound=Callable[..., object])
"""What stands below a decorator of click."""


class Kind(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """A kind of value: its name in the help, and what reads a text or raises a ValueError."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Reads a text; what is none has been read before."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Whole(click.IntRange):
    """click's range of whole numbers, whose message stays short however long the number is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Reads a whole number."""
        if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
            expected = f"a whole number in the range {self._describe_range()}"
            self.fail(f"expected {expected}, got {_short(value)}", param, ctx)
        return super().convert(value, param, ctx)


class Place(click.Path):
    """click's path, as a Path; an empty text, as of a variable that is not set, is refused."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Reads a path."""
        # Path("") is the current folder, which would fill with what was meant for another.
        if not os.fspath(value):
            self.fail("expected a path, got an empty text; the current folder is .", param, ctx)
        return super().convert(value, param, ctx)


def real(low: float, high: float) -> Kind:
    """Finite numbers from `low` to `high`; click's own range takes NaN for one."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}, got {_short(text)}")
        return number

    return Kind("number", read)


def _size(text: str) -> tuple[int | None, ...]:
    sides = [_whole(part, LONGEST_SIDE) for part in text.lower().split("x")]
    if len(sides) != 2 or not all(sides):
        raise ValueError(
            f"expected HEIGHTxWIDTH such as 256x128, sides from 1 to {LONGEST_SIDE}, got "
            f"{_short(text)}"
        )
    return tuple(sides)


def _seeds(text: str) -> tuple[int, ...]:
    """How many seeds, counted from 0, or a list of them."""
    several = "," in text
    most = LARGEST_SEED if several else _MOST_SEEDS
    found = [_whole(part, most) for part in _words(text)]
    seeds = [seed for seed in found if seed is not None]
    if not seeds or seeds != found or text == "0":
        raise ValueError(
            f"expected a count such as 3, up to {_MOST_SEEDS}, or seeds such as 0,7, up to "
            f"{LARGEST_SEED}; got {_short(text)}"
        )
    return tuple(dict.fromkeys(seeds)) if several else tuple(range(seeds[0]))


def _budget(text: str) -> str:
    """A number, or a fraction such as 5/255; what it means depends on the norm."""
    try:
        # As a length, any number is one.
        read_budget(text, "l2", name="it")
    except ValueError as error:
        raise ValueError(f"expected numbers such as 5 or 5/255: {error}") from None
    return text


def _budgets(text: str) -> tuple[str, ...]:
    parts = _words(text)
    if not parts:
        raise ValueError(f"expected numbers such as 1,2.5,5 or 5/255, got {text!r}")
    if len(parts) > _MOST_BUDGETS:
        raise ValueError(f"expected at most {_MOST_BUDGETS} budgets, got {len(parts)}")
    return tuple(map(_budget, parts))


def _title(text: str) -> str:
    """A line of text that any screen and any file can hold."""
    # Bytes that are no UTF-8 come as surrogates, which are not printable either.
    if not text.isprintable():
        raise ValueError(f"expected one line of printable UTF-8 text, got {text!a}")
    if len(text) > _LONGEST_TITLE:
        raise ValueError(f"expected at most {_LONGEST_TITLE} characters, got {len(text)}")
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _whole(text: str, most: int) -> int | None:
    """A number from 0 to `most`, or None; Python refuses to read very long ones."""
    short = text.isdecimal() and len(text.lstrip("0")) <= len(str(most))
    return int(text) if short and int(text) <= most else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_NUMBER else f"{text[:50]}... ({len(text)} characters)"


SEED = Whole(0, LARGEST_SEED)
STEPS = Whole(1, MOST_STEPS)
RESTARTS = Whole(1, MOST_RESTARTS)
QUERIES = Whole(1, MOST_STEPS)
TOP = Whole(1, 100_000)
REPEATS = Whole(1, 10_000)
EPOCHS = Whole(1, MOST_EPOCHS)
BATCH = Whole(1, LARGEST_BATCH)
IMAGES = Whole(1, 1_000_000_000)  # the largest datasets of re-identification have millions
ROWS = Whole(0, 100_000)
WORKERS = Whole(0, MOST_WORKERS)
PROCESSES = Whole(1, 100_000)
DEVICES = Whole(1, 4096)
CLASSES = Whole(1, 10_000_000)  # a layer of 80 GB
DIMENSIONS = Whole(1, MOST_DIMENSIONS)
CAMERAS = Whole(0, 1_000_000)
IDENTITY = Whole(0, 1_000_000_000)
DISTANCE = click.Choice(get_args(Distance))
FILTER = click.Choice(get_args(Filter))
SIZE = Kind("HxW", _size)
SEEDS = Kind("N|A,B,...", _seeds)
WORDS = Kind("A,B,...", _words)
BUDGET = Kind("N|N/255", _budget)
BUDGETS = Kind("A,B,...", _budgets)
TITLE = Kind("TEXT", _title)


def add_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Adds options from `click.option`, in the order in which the help shall list them."""
    for option in reversed(options):
        command = option(command)
    return command


def data_dir_option(command: Command) -> Command:
    """Adds `--data-dir`."""
    return click.option(
        "--data-dir",
        type=Place(file_okay=False),
        help="Where prepared datasets are kept.  [default: $TFDS_DATA_DIR or "
        "~/tensorflow_datasets]",
    )(command)


def dtype_option(command: Command) -> Command:
    """Adds `--dtype`."""
    return click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="What the network computes in.",
    )(command)


def json_option(command: Command) -> Command:
    """Adds `--json`, the argument `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object, for programs."
    )(command)


def numbers_option(name: str) -> Callable[[Command], Command]:
    """Adds an option of benchmarks, which say by a dataset's name how many features they draw."""
    return click.option(
        name,
        type=click.Choice(("tiny", "market1501", "msmt17")),
        default="market1501",
        show_default=True,
        help="The dataset that random features have the numbers of.",
    )


def command_line() -> str:
    """The command that the user typed, quoted for a shell."""
    words = click.get_current_context().find_root().obj or ()
    return shlex.join(["jaxreid", *words])
