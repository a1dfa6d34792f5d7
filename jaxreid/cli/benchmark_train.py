"""`jaxreid benchmark train`: images per second of the training loop, and what a step asks for."""

import json
import statistics
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.benchmark_options import json_option
from jaxreid.cli.parameters import EPOCHS
from jaxreid.cli.processes import connect, process_options
from jaxreid.cli.progress import progress_bars
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from jaxreid.benchmark.loop import LoopSpeed
    from jaxreid.training.trainer import Progress

__all__ = ["train"]


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--preset",
    "presets",
    multiple=True,
    default=("synthetic", "synthetic_goat_sma", "synthetic_goat_fna"),
    show_default=True,
    help="As `jaxreid train --config`; may be given several times.",
)
@click.option("--epochs", type=EPOCHS, default=1, show_default=True, help="Of each.")
@click.option(
    "--count",
    is_flag=True,
    help="Count the arithmetic and memory of a step on one device instead; several processes may.",
)
@json_option
@process_options
@click.pass_context
def train(
    ctx: click.Context,
    presets: tuple[str, ...],
    epochs: int,
    count: bool,
    as_json: bool,
    **processes: Any,
) -> None:
    """The training loop on all local devices, one preset after the other.

    Data are read, augmented and waited for, as `jaxreid train` does; nothing is evaluated, nothing
    is kept. Fields of the configurations can be set: --config.batch.size=64.

    \b
    Examples:
      jaxreid benchmark train
      jaxreid benchmark train --preset market1501_goat_fna --config.batch.size=64
      XLA_FLAGS=--xla_force_host_platform_device_count=8 \\
          jaxreid benchmark train --count
    """  # noqa: D301
    from jaxreid.cli.configuration import load

    configs = {preset: load(preset, ctx.args) for preset in presets}
    connect(processes)

    import jax

    if count:
        _count(configs, as_json)
    elif jax.process_count() > 1:
        raise click.UsageError("several processes can only --count")
    else:
        _time(configs, epochs, as_json)


def _count(configs: "dict[str, ConfigDict]", as_json: bool) -> None:
    from rich.table import Table

    from jaxreid.benchmark.loop import cost_of_step
    from jaxreid.cli.tables import wide_console

    costs = {preset: cost_of_step(config) for preset, config in configs.items()}
    if not is_main_process():
        return
    if as_json:
        click.echo(json.dumps({preset: cost._asdict() for preset, cost in costs.items()}))
        return
    table = Table(title="one step of training, on one device")
    for title in ("", "processes", "devices", "batch", "GFLOP", "MB"):
        table.add_column(title, justify="right" if title else "left")
    for preset, cost in costs.items():
        table.add_row(
            preset,
            str(cost.processes),
            str(cost.devices),
            str(configs[preset].batch.size),
            f"{cost.flops / 1e9:.3f}",
            f"{cost.program_bytes / 1e6:,.1f}",
        )
    wide_console().print(table)


def _time(configs: "dict[str, ConfigDict]", epochs: int, as_json: bool) -> None:
    from rich.table import Table

    from jaxreid.benchmark.loop import benchmark_loop
    from jaxreid.cli.tables import wide_console

    speeds: dict[str, LoopSpeed] = {}
    with progress_bars() as bars:
        for preset, config in configs.items():

            def watch(at: "Progress", preset: str = preset) -> None:
                bars(f"{preset}: {at.stage}", at.done, at.total)

            speeds[preset] = benchmark_loop(config, epochs=epochs, watch=watch)
    if as_json:
        click.echo(json.dumps({preset: speed._asdict() for preset, speed in speeds.items()}))
        return
    against = next(iter(configs))
    first = speeds[against].median
    table = Table(title=f"training loop, {epochs} epoch(s) each")
    for title in ("", "images/s", "spread", f"x {against}", "waiting for data", "first step, s"):
        table.add_column(title, justify="right" if title else "left")
    for preset, speed in speeds.items():
        table.add_row(
            preset,
            f"{speed.median:,.0f}",
            f"{speed.spread:.0%}",
            f"{speed.median / first:.2f}",
            f"{statistics.median(speed.waiting):.1%}",
            f"{speed.first_step:.1f}",
        )
    wide_console().print(table)
