"""Options that several benchmarks share."""

from collections.abc import Callable
from typing import Any

import click

from jaxreid.cli.parameters import BATCH, Size, add_options

__all__ = ["dtype_option", "json_option", "network_options"]


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--attack`, `--architecture`, `--size` and `--batch`.

    Args:
        command: the function below.

    Returns:
        The same with the options.
    """
    options = [
        click.option(
            "--attack", type=click.Choice(["sma", "fna"]), default="fna", show_default=True
        ),
        click.option("--architecture", default="resnet50", show_default=True, help="A ResNet."),
        click.option(
            "--size", type=Size(), default="256x128", show_default=True, help="Of the images."
        ),
        click.option("--batch", type=BATCH, default=16, show_default=True, help="Images."),
    ]
    return add_options(command, options)


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
