"""`jaxreid benchmark train`: images per second of the training loop."""

import json
import statistics
from typing import TYPE_CHECKING

import click

from jaxreid.cli.benchmark_options import json_option
from jaxreid.cli.progress import progress_bars

if TYPE_CHECKING:
    from jaxreid.benchmark.loop import LoopSpeed
    from jaxreid.training.loop import Progress

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
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Of each.")
@json_option
@click.pass_context
def train(ctx: click.Context, presets: tuple[str, ...], epochs: int, as_json: bool) -> None:
    """The training loop on all local devices, one preset after the other.

    Data are read, augmented and waited for, as `jaxreid train` does; nothing is evaluated, nothing
    is kept. Fields of the configurations can be set: --config.batch.size=64.

    \b
    Examples:
      jaxreid benchmark train
      jaxreid benchmark train --preset market1501_goat_fna --config.batch.size=64
    """  # noqa: D301
    from rich.table import Table

    from jaxreid.benchmark.loop import benchmark_loop
    from jaxreid.cli.configuration import load
    from jaxreid.cli.tables import wide_console

    configs = {preset: load(preset, ctx.args) for preset in presets}
    speeds: dict[str, LoopSpeed] = {}
    with progress_bars() as bars:
        for preset, config in configs.items():

            def watch(at: "Progress", preset: str = preset) -> None:
                bars(f"{preset}: {at.stage}", at.done, at.total)

            speeds[preset] = benchmark_loop(config, epochs=epochs, watch=watch)
    if as_json:
        click.echo(json.dumps({preset: speed._asdict() for preset, speed in speeds.items()}))
        return
    first = speeds[presets[0]].median
    table = Table(title=f"training loop, {epochs} epoch(s) each")
    for title in ("", "images/s", "spread", f"x {presets[0]}", "waiting for data", "first step, s"):
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
