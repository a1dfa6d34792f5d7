"""`jaxreid benchmark compile`: the time it takes, or the cost on a chip that is not here."""

from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.benchmark.networks import network_options
from jaxreid.cli.lines import say
from jaxreid.cli.parameters import DEVICES, json_option
from jaxreid.cli.progress import progress_bars
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.benchmark.targets.counting import Counted
    from jaxreid.benchmark.targets.programs import Network
    from jaxreid.models.folding import Target

__all__ = ["compile_"]

_PROGRAMS = ("features", "attack", "worst", "ranking", "plain", "goat", "recommended")


@click.command("compile")
@network_options
@click.option(
    "--target",
    metavar="tpu:TOPOLOGY|cuda|rocm",
    help="Count what programs for it do, instead of timing; such as tpu:v5e:2x2.",
)
@click.option(
    "--program",
    "programs",
    type=click.Choice(_PROGRAMS),
    multiple=True,
    help="Of a target; may be given several times.  [default: all]",
)
@click.option("--devices", type=DEVICES, help="How many of a target's chips.  [default: all]")
@json_option
def compile_(
    target: str | None,
    programs: tuple[str, ...],
    devices: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile an attack in a new process, with nothing kept from before, and then once more.

    The number of steps does not matter: they are one loop.

    With a target, programs are compiled for a slice of TPUs that need not be there (by libtpu: pip
    install 'jaxreid[tpu]'), with --batch images per chip, and read: operations, memory, what
    crosses chips, and how long a chip takes at least. For cuda and rocm they are lowered, and
    operations counted. Of an attack that is what its 15 steps cost, divided by 15.

    \b
    Examples:
      jaxreid benchmark compile
      jaxreid benchmark compile --attack sma --architecture resnet_patch \\
          --size 64x32
      jaxreid benchmark compile --target tpu:v5e:2x2 --dtype bfloat16 \\
          --batch 128 --program attack --program goat
    """  # noqa: D301
    if target is None:
        if programs or devices is not None:
            raise InputError("--program and --devices belong to a --target")
        _time(as_json, **options)
    else:
        _count(target, tuple(dict.fromkeys(programs)) or _PROGRAMS, devices, as_json, **options)


def _time(as_json: bool, batch: int, **options: Any) -> None:
    from jaxreid.benchmark.compilation import benchmark_compilation
    from jaxreid.cli.tables import print_json, print_table

    starts = benchmark_compilation(batch_size=batch, **options)
    if as_json:
        print_json(starts)
        return
    height, width = options["size"]
    print_table(
        f"{options['attack']}, {options['architecture']}, {height}x{width}",
        ("", "compilation, s", "whole process, s"),
        [
            (name, f"{start.compile_seconds:.1f}", f"{start.process_seconds:.1f}")
            for name, start in starts.items()
        ],
    )


def _count(
    target: str,
    programs: tuple[str, ...],
    devices: int | None,
    as_json: bool,
    stride: int | None,
    batch: int,
    **options: Any,
) -> None:
    import jax

    from jaxreid.benchmark.targets.counting import count_for
    from jaxreid.benchmark.targets.programs import Network

    if stride is not None:
        raise InputError("--stride: an architecture's own is what a --target is compiled with")
    # What is compiled for chips that are not here cannot be read back.
    jax.config.update("jax_enable_compilation_cache", False)
    forms: Target = "tpu" if target.startswith("tpu") else "gpu"
    network = Network(batch_size=batch, target=forms, **options)
    counted: dict[str, Counted] = {}
    try:
        with progress_bars() as bars:
            bars("compiling", 0, len(programs), programs[0])
            for name, found in count_for(target, programs, network, count=devices):
                counted[name] = found
                bars("compiling", len(counted), len(programs), name)
    except Exception:
        if counted:
            _print(target, network, counted, as_json)
            failed = programs[len(counted)]
            click.echo(f"program {failed} failed; those before it were counted", err=True)
        raise
    _print(target, network, counted, as_json)


def _print(target: str, network: "Network", counted: "dict[str, Counted]", as_json: bool) -> None:
    from jaxreid.cli.tables import print_json

    if as_json:
        print_json({"target": target, "network": network._asdict(), "programs": counted})
        return
    height, width = network.size
    chips = next(iter(counted.values())).devices
    of = f"{network.architecture}, {height}x{width}, {network.dtype}"
    _show(f"{target}, {chips} chip(s), {of}, {network.batch_size} images on each", counted)


def _digits(amount: float, places: int = 2) -> str:
    """What is less than 1 with three digits that say something."""
    return f"{amount:.3g}" if 0 < amount < 1 else f"{amount:,.{places}f}"


def _show(title: str, counted: "dict[str, Counted]") -> None:
    """Per image and on one chip; then what crosses chips."""
    from jaxreid.cli.tables import print_table

    rows = []
    for name, found in counted.items():
        row = [name, _digits(found.flops / found.images / 1e9)]
        if found.cost is not None and found.floors is not None:
            cost, floors = found.cost, found.floors
            row += [
                _digits(cost.bytes / found.images / 1e6, 1),
                _digits(cost.memory_bytes / found.images / 1e6, 1),
                _digits(1e3 * floors.arithmetic),
                _digits(1e3 * floors.memory),
                _digits(1e3 * floors.between),
                _digits((cost.temporaries + cost.arguments) / 1e9) + ("" if found.fits else " !"),
            ]
        rows.append(row)
    columns = ["", "GFLOP", "MB", "in memory", "ms: flops", "memory", "links", "GB held"]
    print_table(title, columns[: len(rows[0])], rows)
    for name, found in counted.items():
        if found.cost is not None and found.cost.collectives:
            parts = [
                f"{count:,} {kind} of {size / 1e6:,.2f} MB"
                for kind, (count, size) in found.cost.collectives.items()
            ]
            say(f"{name}: {', '.join(parts)}")
