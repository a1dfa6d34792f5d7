"""`jaxreid benchmark`: the group, and ranking, guides, the training loop and its input."""

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.backend import connect, find_devices, process_options, set_up_compiler
from jaxreid.cli.benchmark.compile import compile_
from jaxreid.cli.benchmark.defenses import defenses
from jaxreid.cli.benchmark.networks import attack, goat
from jaxreid.cli.benchmark.surrogates import surrogates
from jaxreid.cli.benchmark.worst import worst
from jaxreid.cli.parameters import (
    EPOCHS,
    IMAGES,
    REPEATS,
    WORKERS,
    Whole,
    data_dir_option,
    json_option,
    numbers_option,
)
from jaxreid.cli.progress import progress_bars
from jaxreid.distributed import is_main_process
from jaxreid.processors import usable_processors

if TYPE_CHECKING:
    from jaxreid.benchmark.data import InputTimings
    from jaxreid.benchmark.training_loop import LoopSpeed
    from jaxreid.training.config import TrainConfig
    from jaxreid.training.trainer import Progress

__all__ = ["benchmark"]

_DRAWN = 4096  # images drawn for a run; more would only repeat

# Of the others, `train` looks for processes first; `compile` and `data` need no device of this one.
_ON_DEVICES = ("attack", "defenses", "goat", "guides", "ranking", "surrogates", "worst")


@click.group()
@click.pass_context
def benchmark(ctx: click.Context) -> None:
    """Measure speed, always beside something else in the same run.

    Example: jaxreid benchmark ranking --size market1501
    """
    set_up_compiler()
    if ctx.invoked_subcommand in _ON_DEVICES:
        find_devices(divide_cpu=ctx.invoked_subcommand == "attack")


@click.command()
@numbers_option("--size")
@click.option("--repeats", type=REPEATS, default=5, show_default=True, help="Timed rounds.")
@click.option("--argsort/--no-argsort", default=True, help="Whether a sort per query takes part.")
@json_option
def ranking(size: str, repeats: int, argsort: bool, as_json: bool) -> None:
    """Exact ranking against the bare distance product and a NumPy sort per query.

    Example: jaxreid benchmark ranking --size market1501
    """
    from jaxreid.benchmark.ranking import benchmark_ranking
    from jaxreid.cli.tables import print_json, print_table

    result = benchmark_ranking(size, repeats=repeats, argsort=argsort)
    if as_json:
        print_json(result)
        return
    print_table(
        f"Ranking at the size {size}: median of {repeats} rounds, taken in turns",
        ("contestant", "seconds", "first call"),
        [(n, f"{s:.2f}", f"{result.first_seconds[n]:.2f}") for n, s in result.seconds.items()],
    )
    click.echo(f"ranking / bare product in float32, from the host too: {result.to_product:.2f}")
    if result.argsort_to_ranking is not None:
        click.echo(f"argsort / ranking: {result.argsort_to_ranking:.2f}")
    click.echo(f"peak memory in ranking: {result.extra_bytes / 1e6:+.0f} MB, {result.memory_of}")


@click.command()
@numbers_option("--size")
@click.option("--repeats", type=REPEATS, default=5, show_default=True, help="Timed rounds.")
@json_option
def guides(size: str, repeats: int, as_json: bool) -> None:
    """Selection of guides, beside the distance product it cannot avoid.

    Example: jaxreid benchmark guides --size market1501
    """
    from jaxreid.benchmark.ranking import benchmark_guides
    from jaxreid.cli.tables import print_json, print_table

    times = benchmark_guides(size, repeats=repeats)
    if as_json:
        print_json(times)
        return
    print_table(
        f"Guides at the size {size}: median of {repeats} rounds, taken in turns",
        ("selection", "milliseconds", "first call"),
        [(n, f"{1e3 * time.median:.1f}", f"{1e3 * time.first:.0f}") for n, time in times.items()],
    )


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
    /,
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
    from jaxreid.benchmark.training_loop import cost_of_step
    from jaxreid.cli.tables import print_json, print_table

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
    from jaxreid.benchmark.training_loop import benchmark_loop
    from jaxreid.cli.tables import print_json, print_table

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
@click.option("--dataset", help="A prepared dataset; generated Market-like JPEGs by default.")
@data_dir_option
@click.option(
    "--images", type=IMAGES, default=4096, show_default=True, help="Images per timed run."
)
@click.option("--repeats", type=REPEATS, default=3, show_default=True, help="Timed rounds.")
@click.option(
    "--workers",
    type=Whole(1, WORKERS.max),
    help="Processes that decode.  [default: one per usable processor]",
)
@json_option
def data(
    dataset: str | None, data_dir: Path | None, images: int, as_json: bool, **options: Any
) -> None:
    """Images decoded, resized to 256x128 and batched per second.

    Beside a plain PIL loop, and a PyTorch DataLoader if torch is installed.

    Example: jaxreid benchmark data --dataset market1501
    """
    from jaxreid.benchmark.data import generated_split, time_input
    from jaxreid.cli.tables import print_json
    from jaxreid.data.source import ReidSource, open_split

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
            progress=lambda name, done, total: bars("timing", done, total, name),
            **options,
        )
    if as_json:
        print_json(timings)
        return
    _show_input(timings, len(source))


def _show_input(timings: "InputTimings", available: int) -> None:
    from jaxreid.benchmark.timing import ratio
    from jaxreid.cli.tables import print_table

    baseline = next(iter(timings.timings.values()))
    print_table(
        f"{available} JPEGs, resized to 256x128, batches of 64; {timings.images} images per run, "
        f"{usable_processors()} processors",
        ("", "images/s", "x plain loop", "start, s"),
        [
            (
                name,
                f"{timings.rate(name):,.0f}",
                f"{ratio(baseline, timing):.1f}",
                f"{timing.first:.1f}",
            )
            for name, timing in timings.timings.items()
        ],
    )
    for name, why in timings.missing.items():
        click.echo(f"{name}: left out, {why}")


for _command in (attack, compile_, data, defenses, goat, guides, ranking, surrogates, train, worst):
    benchmark.add_command(_command)
