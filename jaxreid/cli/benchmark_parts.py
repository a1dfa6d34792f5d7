"""`jaxreid benchmark` of parts: ranking, guides, a compilation, a step of training; and options."""

import json
from typing import Any

import click

from jaxreid.cli.parameters import BATCH, REPEATS, Command, Size, Whole, add_options

__all__ = [
    "compile_",
    "dtype_option",
    "goat",
    "guides",
    "json_option",
    "network_options",
    "print_json",
    "ranking",
]


def network_options(command: Command) -> Command:
    """Adds `--attack`, `--architecture`, `--size` and `--batch`.

    Args:
        command: the function below.

    Returns:
        The same with the options.
    """
    options = [
        click.option(
            "--attack", type=click.Choice(["sma", "fna"]), default="fna", show_default=True
        ),
        click.option("--architecture", default="resnet50", show_default=True, help="A ResNet."),
        click.option(
            "--size", type=Size(), default="256x128", show_default=True, help="Of the images."
        ),
        click.option("--batch", type=BATCH, default=16, show_default=True, help="Images."),
    ]
    return add_options(command, options)


def dtype_option(command: Command) -> Command:
    """Adds `--dtype`.

    Args:
        command: the function below.

    Returns:
        The same with the option.
    """
    return click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the backbone.",
    )(command)


def json_option(command: Command) -> Command:
    """Adds `--json`, the argument as_json.

    Args:
        command: the function below.

    Returns:
        The same with the option.
    """
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
    )(command)


def print_json(value: Any) -> None:
    """Prints a result as one JSON object.

    Args:
        value: of numbers, texts, mappings, sequences and named tuples, which become objects.
    """
    click.echo(json.dumps(_plain(value)))


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


@click.command()
@click.option(
    "--size",
    type=click.Choice(["tiny", "market1501", "msmt17"]),
    default="market1501",
    show_default=True,
    help="How many queries and gallery items of random features.",
)
@click.option("--repeats", type=REPEATS, default=5, show_default=True)
@click.option("--argsort/--no-argsort", default=True, help="Let a sort per query take part.")
@json_option
def ranking(size: str, repeats: int, argsort: bool, as_json: bool) -> None:
    """Exact ranking against the bare distance product and a NumPy sort per query.

    Example: jaxreid benchmark ranking --size market1501
    """
    from jaxreid.benchmark.ranking import benchmark_ranking
    from jaxreid.cli.tables import print_table

    result = benchmark_ranking(size, repeats=repeats, argsort=argsort)
    if as_json:
        print_json(result)
        return
    print_table(
        f"Ranking at the size {size}: median of {repeats} rounds, taken in turns",
        ("contestant", "seconds", "first call"),
        [
            (name, f"{seconds:.2f}", f"{result.first_seconds[name]:.2f}")
            for name, seconds in result.seconds.items()
        ],
    )
    click.echo(f"ranking / bare product: {result.to_product:.2f}")
    if result.argsort_to_ranking is not None:
        click.echo(f"argsort / ranking: {result.argsort_to_ranking:.2f}")
    click.echo(f"peak memory of ranking beyond the features: {result.extra_bytes / 1e6:.0f} MB")


@click.command()
@click.option(
    "--size",
    type=click.Choice(["tiny", "market1501"]),
    default="market1501",
    show_default=True,
    help="How many targets and identities of random features.",
)
@click.option("--repeats", type=REPEATS, default=5, show_default=True)
@json_option
def guides(size: str, repeats: int, as_json: bool) -> None:
    """Selection of guides, beside the distance product it cannot avoid.

    Example: jaxreid benchmark guides --size market1501
    """
    from jaxreid.benchmark.ranking import benchmark_guides
    from jaxreid.cli.tables import print_table

    times = benchmark_guides(size, repeats=repeats)
    if as_json:
        print_json(times)
        return
    print_table(
        f"Guides at the size {size}: median of {repeats} rounds, taken in turns",
        ("selection", "milliseconds", "first call"),
        [
            (name, f"{1e3 * time.median:.1f}", f"{1e3 * time.first:.0f}")
            for name, time in times.items()
        ],
    )


@click.command("compile")
@network_options
@dtype_option
@json_option
def compile_(as_json: bool, batch: int, **options: Any) -> None:
    """Compile an attack in a new process, with nothing kept from before, and then once more.

    The number of steps does not matter: they are one loop.

    \b
    Examples:
      jaxreid benchmark compile
      jaxreid benchmark compile --attack sma --architecture resnet_patch \\
          --size 64x32
    """  # noqa: D301
    from jaxreid.benchmark.attack import benchmark_compilation
    from jaxreid.cli.tables import print_table

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


@click.command()
@click.option("--architecture", default="resnet_patch", show_default=True, help="See `convert`.")
@click.option("--size", type=Size(), default="64x32", show_default=True, help="Of the images.")
@click.option("--batch", type=Whole(2, BATCH.max), default=32, show_default=True, help="Images.")
@dtype_option
@click.option("--repeats", type=REPEATS, default=5, show_default=True)
@json_option
def goat(architecture: str, batch: int, as_json: bool, **options: Any) -> None:
    """Plain training against GOAT and its cheaper forms, and against the sum of their pieces.

    On one device. The pieces are forward passes for guides, 7 forward passes with the gradient to
    the images, and a plain training step.

    \b
    Examples:
      jaxreid benchmark goat
      jaxreid benchmark goat --architecture resnet50 --size 256x128 \\
          --batch 8 --repeats 3
    """  # noqa: D301
    from jaxreid.benchmark.timing import ratio
    from jaxreid.benchmark.training import VARIANTS, benchmark_training
    from jaxreid.cli.tables import print_table

    result = benchmark_training(architecture, batch_size=batch, **options)
    if as_json:
        print_json(result)
        return
    plain, whole = result.timings["plain"], result.timings["GOAT (4,1)"]
    rows = []
    for name, timing in result.timings.items():
        cells = [f"{1e3 * timing.median:,.0f}", "", "", "", f"{timing.first:.1f}"]
        if name in VARIANTS:
            cells[1:3] = f"{ratio(timing, plain):.2f}", f"{ratio(timing, whole):.2f}"
            cells[3] = f"{timing.median / result.predicted[name]:.2f}"
        rows.append([name, *cells])
    height, width = options["size"]
    print_table(
        f"{architecture}, {height}x{width}, batch {batch}, {options['dtype']}: median of "
        f"{options['repeats']} rounds, taken in turns",
        ("", "ms per batch", "x plain", "x GOAT (4,1)", "x sum of pieces", "first call, s"),
        rows,
    )
