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
    from jaxreid.benchmark.targets.chips import CHIPS
    from jaxreid.cli.tables import print_json

    kind = target.split(":")[1] if target.startswith("tpu:") else None
    if as_json:
        programs = {
            name: {**found._asdict(), "per_image": found.per_image()}
            for name, found in counted.items()
        }
        about = {"target": target, "network": network._asdict(), "chip": kind and CHIPS[kind]}
        print_json({**about, "programs": programs})
        return
    _show_work(target, network, counted)
    if kind is None:
        return
    _show_chip(counted)
    for name, found in counted.items():
        if found.cost is not None and found.cost.collectives:
            parts = [
                f"{count:,} {collective} of {size / 1e6:,.2f} MB"
                for collective, (count, size) in found.cost.collectives.items()
            ]
            say(f"{name}: {', '.join(parts)}")
        if found.lacks:
            say(f"{name} does not fit: {found.lacks}")
    chip = CHIPS[kind]
    say(
        f"Peaks of a {kind}: {chip.flops / 1e12:,.0f} TFLOP/s in bfloat16, memory "
        f"{chip.bandwidth / 1e9:,.0f} GB/s and {chip.memory / 1e9:,.0f} GB, links "
        f"{chip.between / 2e9:,.0f} GB/s in each direction: {chip.source}"
    )


def _digits(amount: float, places: int = 2) -> str:
    """What is less than 1 with three digits that say something."""
    return f"{amount:.3g}" if 0 < amount < 1 else f"{amount:,.{places}f}"


def _show_work(target: str, network: "Network", counted: "dict[str, Counted]") -> None:
    """Per image; of a ranking, per query."""
    from jaxreid.cli.tables import print_table

    rows = []
    for name, found in counted.items():
        each = found.per_image()
        row = [name, f"{found.images:,}", _digits(each["flops"] / 1e9)]
        if "bytes" in each:
            row += [_digits(each[kind] / 1e6, 1) for kind in ("bytes", "memory_bytes")]
        rows.append(row)
    columns = ["", "images", "GFLOP each", "MB each, all memories", "large memory"]
    most = max(map(len, rows))
    rows = [row + [""] * (most - len(row)) for row in rows]
    chips = next(iter(counted.values())).devices
    height, width = network.size
    of = f"{network.architecture}, {height}x{width}, {network.dtype}"
    print_table(f"{target}, {chips} chip(s), {of}: per image", columns[:most], rows)
    if "ranking" in counted:
        say("The images of a ranking are its queries.")


def _show_chip(counted: "dict[str, Counted]") -> None:
    """What one chip waits for at least, and holds."""
    from jaxreid.cli.tables import print_table

    rows = []
    for name, found in counted.items():
        row = [name, "", "", "", "", "", "yes" if found.fits else "no"]
        if found.cost is not None and found.floors is not None:
            held = (found.cost.arguments / 1e9, found.cost.temporaries / 1e9)
            floors = [_digits(1e3 * each) for each in found.floors]
            row[1:-1] = [*floors, *(_digits(each) for each in held)]
        rows.append(row)
    columns = ["", "arithmetic", "memory", "links", "GB given", "temporary", "fits"]
    print_table("A chip, for all its images: ms at least, and GB", columns, rows)
