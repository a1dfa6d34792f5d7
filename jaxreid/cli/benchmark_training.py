"""`jaxreid benchmark train` and `data`: the training loop as a whole, and its input alone."""

import os
import statistics
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.benchmark_parts import json_option, print_json
from jaxreid.cli.parameters import EPOCHS, IMAGES, REPEATS, WORKERS, Whole
from jaxreid.cli.processes import connect, process_options
from jaxreid.cli.progress import progress_bars
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.benchmark.data import InputTimings
    from jaxreid.benchmark.training import LoopSpeed
    from jaxreid.training.config import TrainConfig
    from jaxreid.training.trainer import Progress

__all__ = ["data", "train"]

_DRAWN = 4096  # images drawn for a run; more would only repeat


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--preset",
    "presets",
    multiple=True,
    default=("synthetic", "synthetic:goat=sma", "synthetic:goat=fna"),
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
      jaxreid benchmark train --preset market1501:goat=fna --config.batch.size=64
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


def _count(configs: "dict[str, TrainConfig]", as_json: bool) -> None:
    from jaxreid.benchmark.training import cost_of_step
    from jaxreid.cli.tables import print_table

    costs = {preset: cost_of_step(config) for preset, config in configs.items()}
    if not is_main_process():
        return
    if as_json:
        print_json(costs)
        return
    print_table(
        "one step of training, on one device",
        ("", "processes", "devices", "batch", "GFLOP", "MB"),
        [
            (
                preset,
                str(cost.processes),
                str(cost.devices),
                str(configs[preset].batch.size),
                f"{cost.flops / 1e9:.3f}",
                f"{cost.program_bytes / 1e6:,.1f}",
            )
            for preset, cost in costs.items()
        ],
    )


def _time(configs: "dict[str, TrainConfig]", epochs: int, as_json: bool) -> None:
    from jaxreid.benchmark.training import benchmark_loop
    from jaxreid.cli.tables import print_table

    speeds: dict[str, LoopSpeed] = {}
    with progress_bars() as bars:
        for preset, config in configs.items():

            def watch(at: "Progress", preset: str = preset) -> None:
                bars(f"{preset}: {at.stage}", at.done, at.total)

            speeds[preset] = benchmark_loop(config, epochs=epochs, watch=watch)
    if as_json:
        print_json(speeds)
        return
    against = next(iter(configs))
    print_table(
        f"training loop, {epochs} epoch(s) each",
        ("", "images/s", "spread", f"x {against}", "waiting for data", "first step, s"),
        [
            (
                preset,
                f"{speed.median:,.0f}",
                f"{speed.spread:.0%}",
                f"{speed.median / speeds[against].median:.2f}",
                f"{statistics.median(speed.waiting):.1%}",
                f"{speed.first_step:.1f}",
            )
            for preset, speed in speeds.items()
        ],
    )


@click.command("data")
@click.option(
    "--dataset", metavar="NAME", help="A prepared dataset; generated Market-like JPEGs by default."
)
@click.option("--data-dir", metavar="DIR", help="Where prepared datasets are.")
@click.option(
    "--images", type=IMAGES, default=4096, show_default=True, help="Images per timed run."
)
@click.option(
    "--repeats", type=REPEATS, default=3, show_default=True, help="Timed runs of each contestant."
)
@click.option(
    "--workers",
    type=Whole(1, WORKERS.max),
    help="Worker processes; one per processor by default.",
)
@json_option
def data(
    dataset: str | None,
    data_dir: str | None,
    images: int,
    repeats: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Images decoded, resized to 256x128 and batched per second.

    Beside a plain PIL loop, and a PyTorch DataLoader if torch is installed.

    Example: jaxreid benchmark data --dataset market1501
    """
    from jaxreid.benchmark.data import generated_split, time_input
    from jaxreid.data.read.source import ReidSource, open_split

    with progress_bars() as bars:
        source: ReidSource
        if dataset is None:
            drawn = min(images, _DRAWN)
            source = generated_split(drawn, progress=lambda *at: bars("drawing images", *at))
        else:
            source = open_split(dataset, "train", data_dir=data_dir)
        timings = time_input(
            source,
            images=images,
            repeats=repeats,
            workers=workers,
            progress=lambda name, done, total: bars("timing", done, total, name),
        )
    if as_json:
        print_json(timings)
        return
    for line in _table(timings, len(source)):
        click.echo(line)


def _table(timings: "InputTimings", available: int) -> list[str]:
    """One line per contestant; the ratio is to the plain loop's neighbouring runs."""
    from jaxreid.benchmark.timing import ratio

    baseline = next(iter(timings.timings.values()))
    width = max(map(len, timings.timings))
    lines = [
        f"{available} JPEGs, resized to 256x128, batches of 64; {timings.images} images per run, "
        f"{os.cpu_count()} processors",
        f"{'':{width}}  images/s  x plain loop  start, s",
    ]
    for name, timing in timings.timings.items():
        lines.append(
            f"{name:{width}}  {timings.rate(name):8,.0f}  {ratio(baseline, timing):12.1f}  "
            f"{timing.first:8.1f}"
        )
    lines += [f"{name}: left out, {why}" for name, why in timings.missing.items()]
    return lines
