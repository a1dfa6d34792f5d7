"""Options of commands that several processes may run together, and how these find each other."""

from typing import Any

import click

from jaxreid.cli.compilation import find_devices
from jaxreid.cli.parameters import PROCESSES, Command, Whole, add_options
from jaxreid.cli.stopping import die_at_once

__all__ = ["connect", "process_options"]

_OPTIONS = (
    click.option("--coordinator", metavar="HOST:PORT", help="Of the first of several processes."),
    click.option("--processes", type=PROCESSES, help="How many processes there are."),
    click.option("--process", type=Whole(0, PROCESSES.max), help="Which of them this one is."),
    click.option(
        "--distributed",
        type=click.Choice(["auto", "off"]),
        default="auto",
        show_default=True,
        help="Whether to look for other processes in the environment (Slurm, GKE, TPU).",
    ),
)


def process_options(command: Command) -> Command:
    """Adds the options to a command.

    Args:
        command: the function below.

    Returns:
        The same with options.
    """
    return add_options(command, _OPTIONS)


def connect(options: dict[str, Any]) -> None:
    """Connects with the other processes, if there are any; before JAX is asked for devices.

    Args:
        options: values of the options; others are ignored.

    Raises:
        InputError: they contradict each other, or some are missing; or there is no device.
    """
    import jax

    from jaxreid.distributed import initialize

    # One process may run several commands, one after the other.
    if not jax.distributed.is_initialized():
        with die_at_once():
            initialize(
                coordinator=options["coordinator"],
                processes=options["processes"],
                process=options["process"],
                mode=options["distributed"],
            )
    find_devices()
