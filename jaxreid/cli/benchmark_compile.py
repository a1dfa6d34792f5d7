"""`jaxreid benchmark compile`: how long the first attack of a process waits."""

import json
from typing import Any

import click

from jaxreid.cli.benchmark_options import dtype_option, json_option, network_options

__all__ = ["compile_"]


@click.command("compile")
@network_options
@dtype_option
@json_option
def compile_(as_json: bool, batch: int, **options: Any) -> None:
    """Compile an attack in a new process, with nothing kept from before, and then once more.

    The number of steps does not matter: they are one loop.

    \b
    Examples:
      jaxreid benchmark compile
      jaxreid benchmark compile --attack sma --architecture resnet_patch \\
          --size 64x32
    """  # noqa: D301
    from rich.table import Table

    from jaxreid.benchmark.compilation import benchmark_compilation
    from jaxreid.cli.tables import wide_console

    starts = benchmark_compilation(batch_size=batch, **options)
    if as_json:
        click.echo(json.dumps({name: start._asdict() for name, start in starts.items()}))
        return
    height, width = options["size"]
    table = Table(title=f"{options['attack']}, {options['architecture']}, {height}x{width}")
    for title in ("", "compilation, s", "whole process, s"):
        table.add_column(title, justify="right" if title else "left")
    for name, start in starts.items():
        table.add_row(name, f"{start.compile_seconds:.1f}", f"{start.process_seconds:.1f}")
    wide_console().print(table)
