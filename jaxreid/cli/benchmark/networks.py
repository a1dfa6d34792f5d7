"""`jaxreid benchmark attack` and `goat`: a network on random images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid import constants
from jaxreid.cli.benchmark.throughput import check_plot, draw_throughput
from jaxreid.cli.benchmark.variants import VARIANT, network_words, variant_options
from jaxreid.cli.lines import say
from jaxreid.cli.parameters import (
    BATCH,
    DEVICES,
    REPEATS,
    SIZE,
    STEPS,
    Command,
    Place,
    Whole,
    add_options,
    dtype_option,
    json_option,
)

if TYPE_CHECKING:
    from jaxreid.benchmark.attack import AttackTimings
    from jaxreid.benchmark.timing import Machine

__all__ = ["attack", "goat", "network_options"]


def network_options(command: Command) -> Command:
    """What `attack` attacks, and `compile` compiles."""
    options = [
        click.option(
            "--attack",
            type=click.Choice(["sma", "fna", "nna"]),
            default="fna",
            show_default=True,
            help="Its name.",
        ),
        click.option(
            "--architecture",
            default="resnet50",
            show_default=True,
            help="Of `jaxreid.models.ARCHITECTURES`.",
        ),
        click.option(
            "--size", type=SIZE, default="256x128", show_default=True, help="Of the images."
        ),
        click.option(
            "--stride",
            type=Whole(1, 1 << 14),
            help="Pixels between a vision transformer's patches.  [default: the architecture's]",
        ),
        click.option(
            "--batch", type=BATCH, default=16, show_default=True, help="Images at a time."
        ),
        dtype_option,
    ]
    return add_options(command, options)


@click.command()
@network_options
@variant_options
@click.option("--auto-batch", is_flag=True, help="Find the fastest batch first.")
@click.option(
    "--steps", type=STEPS, default=constants.STEPS, show_default=True, help="Gradient steps."
)
@click.option(
    "--devices",
    type=DEVICES,
    help="Over which jaxreid spreads a batch; the others use one.  [default: 1; all of a CPU]",
)
@click.option("--repeats", type=REPEATS, default=3, show_default=True, help="Timed rounds.")
@click.option(
    "--rivals/--no-rivals",
    default=True,
    show_default=True,
    help="Let PyTorch and Foolbox take part where they are installed.",
)
@click.option(
    "--plot",
    type=Place(dir_okay=False),
    help="Find the fastest batch on 1, 2, 4, ... devices, and draw what was tried (.svg, .png).",
)
@click.option(
    "--unfrozen/--no-unfrozen",
    default=True,
    show_default=True,
    help="Let jaxreid with weights that are not frozen take part beside them.",
)
@click.option("--torch-compile", is_flag=True, help="Let compiled PyTorch take part as well.")
@click.option("--torch-autotune", is_flag=True, help="Let it try many kernels, for minutes.")
@json_option
def attack(as_json: bool, auto_batch: bool, batch: int, plot: Path | None, **options: Any) -> None:
    """Attacks on random images: jaxreid, PyTorch and Foolbox, taking turns.

    PyTorch runs as the paper's code does (NCHW, gradients to the weights too) and at its best
    (weights frozen, BatchNorm folded, channels last, bfloat16 if that is the dtype, a CUDA graph
    per step on a GPU);
    all hold jaxreid's weights.

    \b
    Examples:
      jaxreid benchmark attack --attack sma
      jaxreid benchmark attack --architecture vit_base_jpm --stride 12 --cameras 6
      jaxreid benchmark attack --architecture resnet50_nl --last-stride 1 \\
          --pool ceil
      jaxreid benchmark attack --architecture resnet_patch --size 64x32 \\
          --auto-batch --no-rivals
      jaxreid benchmark attack --architecture resnet18 --plot throughput.svg
    """  # noqa: D301
    from jaxreid.benchmark.attack import benchmark_attack, fastest_batch, usual_devices
    from jaxreid.benchmark.timing import describe_machine
    from jaxreid.cli.tables import print_json

    if plot is not None:
        check_plot(plot)
    found: dict[int, dict[int, float]] = {}
    if auto_batch or plot is not None:
        named = ("architecture", "attack", "size", "dtype", *VARIANT)
        wanted = {name: options[name] for name in named}
        devices = options["devices"] = options["devices"] or usual_devices()
        counts = [1 << n for n in range(devices.bit_length()) if 1 << n < devices]
        for count in [*(counts if plot is not None else ()), devices]:
            found[count] = fastest_batch(**wanted, devices=count)
        batch = max(found[devices], key=lambda size: found[devices][size])
    result = benchmark_attack(batch_size=batch, **options)
    machine = describe_machine()
    if plot is not None:
        draw_throughput(found, options, plot)
    if as_json:
        print_json({**result._asdict(), "options": options, "machine": machine, "batches": found})
        return
    _show(result, options, machine, found)


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
        f"{options['attack']}, {network_words(options)}, {height}x{width}, {options['dtype']}, "
        f"batch {result.batch_size}, {result.steps} steps: median of {options['repeats']} rounds, "
        "taken in turns",
        ("", "image-steps/s", "images/s", "spread", "jaxreid is faster by", "first call, s"),
        rows,
    )
    say(_reached(result))
    for devices, speeds in found.items():
        tried = ", ".join(f"{size}: {speed:,.2f}" for size, speed in speeds.items())
        say(f"image-steps/s by batch, {devices} device(s): {tried}")
    for name, error in result.agreement.items():
        say(f"{name}: features differ by {error:.0e} of the largest")
    for name, why in result.missing.items():
        say(f"{name}: left out, {why}")
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    say(f"{machine.date}; {machine.processor}; {versions}")


def _reached(result: "AttackTimings") -> str:
    """What part of its devices' ceilings jaxreid's speed is."""
    from jaxreid.benchmark.attack import OURS

    rate = result.image_steps(OURS)
    flops, ceilings = rate * result.flops, result.ceilings
    moved = "bytes not counted"
    if result.bytes is not None:
        moved = (
            f"{rate * result.bytes / 1e9:,.1f} GB/s, {rate * result.bytes / ceilings.bytes:.0%} of "
            f"an addition's {ceilings.bytes / 1e9:,.1f}"
        )
    return (
        f"jaxreid, {result.devices} device(s): {flops / 1e9:,.0f} GFLOP/s, "
        f"{flops / ceilings.flops:.0%} of a matrix product's {ceilings.flops / 1e9:,.0f}; {moved}; "
        f"{result.program_bytes / 1e6:,.0f} MB of memory beside weights and images on each"
    )


@click.command()
@click.option(
    "--architecture",
    default="resnet_patch",
    show_default=True,
    help="Of `jaxreid.models.ARCHITECTURES`.",
)
@click.option("--size", type=SIZE, default="64x32", show_default=True, help="Of the images.")
@click.option(
    "--batch", type=Whole(2, BATCH.max), default=32, show_default=True, help="Images at a time."
)
@dtype_option
@click.option("--repeats", type=REPEATS, default=5, show_default=True, help="Timed rounds.")
@click.option("--few", is_flag=True, help="Only plain training and GOAT (4,1).")
@json_option
def goat(architecture: str, batch: int, few: bool, as_json: bool, **options: Any) -> None:
    """Plain training against GOAT and its cheaper forms, and against the sum of their pieces.

    On one device. The pieces are forward passes for guides, 7 forward passes with the gradient to
    the images, and a plain training step. MB are memory beside what a step is given.

    \b
    Examples:
      jaxreid benchmark goat
      jaxreid benchmark goat --architecture resnet50 --size 256x128 \\
          --batch 8 --repeats 3
    """  # noqa: D301
    from jaxreid.benchmark.timing import ratio
    from jaxreid.benchmark.training import VARIANTS, benchmark_training
    from jaxreid.cli.tables import print_json, print_table

    variants = {name: VARIANTS[name] for name in ("plain", "GOAT (4,1)")} if few else VARIANTS
    result = benchmark_training(architecture, batch_size=batch, variants=variants, **options)
    if as_json:
        print_json(result)
        return
    plain, whole = result.timings["plain"], result.timings["GOAT (4,1)"]
    rows = []
    for name, timing in result.timings.items():
        cells = [f"{1e3 * timing.median:,.0f}", "", "", "", f"{timing.first:.1f}", ""]
        if name in VARIANTS:
            cells[1:3] = f"{ratio(timing, plain):.2f}", f"{ratio(timing, whole):.2f}"
            cells[3] = f"{timing.median / result.predicted[name]:.2f}"
            cells[5] = f"{result.program_bytes[name] / 1e6:,.0f}"
        rows.append([name, *cells])
    height, width = options["size"]
    print_table(
        f"{architecture}, {height}x{width}, batch {batch}, {options['dtype']}: median of "
        f"{options['repeats']} rounds, taken in turns",
        ("", "ms per batch", "x plain", "x GOAT (4,1)", "x sum of pieces", "first call, s", "MB"),
        rows,
    )
