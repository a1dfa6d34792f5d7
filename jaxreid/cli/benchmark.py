"""`jaxreid benchmark`: one subcommand per thing that can be timed."""

import click

from jaxreid.cli.benchmark_attack import attack
from jaxreid.cli.benchmark_compile import compile_
from jaxreid.cli.benchmark_data import data
from jaxreid.cli.benchmark_goat import goat
from jaxreid.cli.benchmark_guides import guides
from jaxreid.cli.benchmark_ranking import ranking
from jaxreid.cli.benchmark_train import train
from jaxreid.cli.compilation import find_devices, set_up_compiler

__all__ = ["benchmark"]


# Of the others, `train` looks for other processes first, `compile` leaves the devices to processes
# that it starts, and `data` needs none.
_ON_DEVICES = ("attack", "goat", "guides", "ranking")


@click.group()
@click.pass_context
def benchmark(ctx: click.Context) -> None:
    """Measure throughput; every figure is a ratio within one run.

    Example: jaxreid benchmark ranking --size market1501
    """
    set_up_compiler()
    if ctx.invoked_subcommand in _ON_DEVICES:
        find_devices()


benchmark.add_command(attack)
benchmark.add_command(compile_)
benchmark.add_command(data)
benchmark.add_command(goat)
benchmark.add_command(guides)
benchmark.add_command(ranking)
benchmark.add_command(train)
