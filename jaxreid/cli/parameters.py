"""Kinds of values that users type, and the command line as they typed it."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = ["Numbers", "Seeds", "Size", "Words", "add_options", "command_line", "data_dir_option"]


class Size(click.ParamType):
    """HEIGHTxWIDTH in pixels."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Reads a size.

        Args:
            value: such as "256x128", or a pair.
            param: of click.
            ctx: of click.

        Returns:
            (height, width).
        """
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"expected HEIGHTxWIDTH such as 256x128, got {value!r}", param, ctx)
        return int(parts[0]), int(parts[1])


class Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "A,B,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Reads a list of numbers.

        Args:
            value: such as "1,2.5,5", or a tuple.
            param: of click.
            ctx: of click.

        Returns:
            The numbers, at least one.
        """
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in _parts(str(value)))
        except ValueError:
            self.fail(f"expected numbers such as 1,2.5,5, got {value!r}", param, ctx)


class Seeds(click.ParamType):
    """How many seeds, counted from 0, or a list of them."""

    name = "N|A,B,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Reads seeds.

        Args:
            value: "3" for 0, 1 and 2; "3," or "0,7" for a list; or a tuple.
            param: of click.
            ctx: of click.

        Returns:
            The seeds, each once.
        """
        if isinstance(value, tuple):
            return value
        parts = _parts(str(value))
        if not parts or not all(part.isdecimal() for part in parts) or value == "0":
            self.fail(
                f"expected a count such as 3, or seeds such as 0,7, got {value!r}", param, ctx
            )
        if "," not in value:
            return tuple(range(int(parts[0])))
        return tuple(dict.fromkeys(int(part) for part in parts))


class Words(click.ParamType):
    """Words with commas between them."""

    name = "A,B,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Reads a list of words.

        Args:
            value: such as "sma,fna", or a tuple.
            param: of click.
            ctx: of click.

        Returns:
            The words.
        """
        return value if isinstance(value, tuple) else tuple(_parts(str(value)))


def _parts(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def add_options(
    command: Callable[..., Any], options: Sequence[Callable[..., Any]]
) -> Callable[..., Any]:
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


def data_dir_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--data-dir`.

    Args:
        command: the function below.

    Returns:
        The same with the option.
    """
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
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
