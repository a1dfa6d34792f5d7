"""`jaxreid benchmark`: one subcommand per thing that can be timed; here that of attacks."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.benchmark_parts import (
    compile_,
    dtype_option,
    goat,
    guides,
    json_option,
    network_options,
    print_json,
    ranking,
)
from jaxreid.cli.benchmark_training import data, train
from jaxreid.cli.compilation import find_devices, set_up_compiler
from jaxreid.cli.parameters import DEVICES, REPEATS, STEPS, Place

if TYPE_CHECKING:
    from jaxreid.benchmark.attack import AttackTimings
    from jaxreid.benchmark.timing import Machine
    from jaxreid.report.canvas import Picture

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


@click.command()
@network_options
@click.option("--auto-batch", is_flag=True, help="Find the fastest batch first.")
@click.option("--steps", type=STEPS, default=15, show_default=True)
@dtype_option
@click.option("--devices", type=DEVICES, default=1, show_default=True)
@click.option("--repeats", type=REPEATS, default=3, show_default=True)
@click.option("--rivals/--no-rivals", default=True, help="Let installed packages take part.")
@click.option(
    "--plot",
    type=Place(dir_okay=False),
    help="Find the fastest batch on 1, 2, 4, ... devices, and draw what was tried (.svg, .png).",
)
@click.option("--torch-compile", is_flag=True, help="Let compiled PyTorch take part as well.")
@json_option
def attack(as_json: bool, auto_batch: bool, batch: int, plot: Path | None, **options: Any) -> None:
    """Attacks on random images: jaxreid, PyTorch and Foolbox, taking turns.

    PyTorch runs as the paper's code does (NCHW, gradients to the weights too) and at its best
    (weights frozen, channels last, bfloat16 if that is the dtype); both hold jaxreid's weights.

    \b
    Examples:
      jaxreid benchmark attack --attack sma
      jaxreid benchmark attack --architecture resnet_patch --size 64x32 \\
          --auto-batch --no-rivals
      XLA_FLAGS=--xla_force_host_platform_device_count=2 \\
          jaxreid benchmark attack --architecture resnet18 --devices 2 \\
          --plot throughput.svg
    """  # noqa: D301
    from jaxreid.benchmark.attack import benchmark_attack, fastest_batch
    from jaxreid.benchmark.timing import describe_machine

    if plot is not None:
        _check_plot(plot)
    found: dict[int, dict[int, float]] = {}
    if auto_batch or plot is not None:
        wanted = {name: options[name] for name in ("architecture", "attack", "size", "dtype")}
        devices = options["devices"]
        counts = [1 << n for n in range(devices.bit_length()) if 1 << n < devices]
        for count in [*(counts if plot is not None else ()), devices]:
            found[count] = fastest_batch(**wanted, devices=count)
        batch = max(found[devices], key=lambda size: found[devices][size])
    result = benchmark_attack(batch_size=batch, **options)
    machine = describe_machine()
    if plot is not None:
        _draw(found, options, plot)
    if as_json:
        print_json({**result._asdict(), "options": options, "machine": machine, "batches": found})
        return
    _show(result, options, machine, found)


def _check_plot(path: Path) -> None:
    """Before an hour is spent on what cannot be drawn."""
    from jaxreid.errors import InputError

    if path.suffix not in (".svg", ".png"):
        raise InputError(f"--plot: expected a name that ends in .svg or .png, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"--plot: there is no folder {path.parent}")


def _draw(found: dict[int, dict[int, float]], options: dict[str, Any], path: Path) -> None:
    from jaxreid.files import replacing

    height, width = options["size"]
    drawn = _throughput(found, f"{options['attack']}, {options['architecture']}, {height}x{width}")
    with replacing(path) as temporary:
        if path.suffix == ".svg":
            temporary.write_text(drawn.svg, encoding="utf-8")
        else:
            temporary.write_bytes(drawn.png)


def _throughput(found: Mapping[int, Mapping[int, float]], title: str) -> "Picture":
    """Draws speed (images times steps per second) against the batch, a line per device count."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from jaxreid.report.canvas import HUES, canvas, legend_below, picture

    with canvas() as (figure, [axes]):
        lines = []
        for hue, (devices, speeds) in zip(HUES * len(found), found.items(), strict=False):
            (line,) = axes.plot(list(speeds), list(speeds.values()), "o-", color=hue)
            lines.append((line, f"{devices} device{'s' if devices > 1 else ''}"))
        axes.set_title(title)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda batch, _: f"{batch:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=0)
        axes.set_xlabel("batch (images)")
        axes.set_ylabel("images x steps per second")
        legend_below(figure, lines)
        best = {devices: max(speeds.values()) for devices, speeds in found.items()}
        alt = "; ".join(f"{devices} devices: at best {rate:,.2f}" for devices, rate in best.items())
        return picture(figure, "throughput", alt=f"{title}, images times steps per second. {alt}.")


def _show(
    result: "AttackTimings",
    options: dict[str, Any],
    machine: "Machine",
    found: dict[int, dict[int, float]],
) -> None:
    from jaxreid.benchmark.attack import OURS
    from jaxreid.benchmark.timing import ratio
    from jaxreid.cli.tables import print_table

    height, width = options["size"]
    rows = []
    for name, timing in result.timings.items():
        rate = result.image_steps(name)
        rows.append(
            (
                name,
                f"{rate:,.2f}",
                f"{rate / result.steps:,.2f}",
                f"{(max(timing.runs) - min(timing.runs)) / timing.median:.0%}",
                f"{ratio(timing, result.timings[OURS]):.2f} x",
                f"{timing.first:.1f}",
            )
        )
    print_table(
        f"{options['attack']}, {options['architecture']}, {height}x{width}, {options['dtype']}, "
        f"batch {result.batch_size}, {result.steps} steps: median of {options['repeats']} rounds, "
        "taken in turns",
        ("", "image-steps/s", "images/s", "spread", "jaxreid is faster by", "first call, s"),
        rows,
    )
    click.echo(_reached(result, result.image_steps(OURS) / result.devices))
    for devices, speeds in found.items():
        tried = ", ".join(f"{size}: {speed:,.2f}" for size, speed in speeds.items())
        click.echo(f"image-steps/s by batch, {devices} device(s): {tried}")
    for name, error in result.agreement.items():
        click.echo(f"{name}: features differ by {error:.0e} of the largest")
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    click.echo(f"{machine.date}; {machine.processor}; {versions}")


def _reached(result: "AttackTimings", rate: float) -> str:
    """What part of a device's ceilings so many images times steps per second are."""
    flops, moved, ceilings = rate * result.flops, rate * result.bytes, result.ceilings
    return (
        f"jaxreid, one device: {flops / 1e9:,.0f} GFLOP/s, {flops / ceilings.flops:.0%} of a "
        f"matrix product's {ceilings.flops / 1e9:,.0f}; {moved / 1e9:,.1f} GB/s, "
        f"{moved / ceilings.bytes:.0%} of an addition's {ceilings.bytes / 1e9:,.1f}; "
        f"{result.program_bytes / 1e6:,.0f} MB of memory beside weights and images"
    )


for _command in (attack, compile_, data, goat, guides, ranking, train):
    benchmark.add_command(_command)
