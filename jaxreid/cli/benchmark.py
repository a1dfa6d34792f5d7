"""`jaxreid benchmark`: one subcommand per thing that can be timed."""

import click

from jaxreid.cli.benchmark_data import data

__all__ = ["benchmark"]


@click.group()
def benchmark() -> None:
    """Measure throughput; every figure is a ratio within one run."""


benchmark.add_command(data)
