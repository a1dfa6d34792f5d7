"""`jaxreid benchmark`: one subcommand per thing that can be timed."""

import click

__all__ = ["benchmark"]


@click.group()
def benchmark() -> None:
    """Measure throughput; every figure is a ratio within one run."""
