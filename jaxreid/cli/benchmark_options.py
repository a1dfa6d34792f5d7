"""Options that several benchmarks share."""

from collections.abc import Callable
from typing import Any

import click

__all__ = ["dtype_option", "json_option"]


def dtype_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--dtype`.

    Args:
        command: the function below.

    Returns:
        The same with the option.
    """
    return click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the backbone.",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--json`, the argument as_json.

    Args:
        command: the function below.

    Returns:
        The same with the option.
    """
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
    )(command)
