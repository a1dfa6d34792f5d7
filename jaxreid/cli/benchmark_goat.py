"""`jaxreid benchmark goat`: what a step of adversarial training costs."""

import json

import click

from jaxreid.cli.benchmark_options import dtype_option, json_option
from jaxreid.cli.parameters import BATCH, REPEATS, Size, Whole

__all__ = ["goat"]


@click.command()
@click.option("--architecture", default="resnet_patch", show_default=True, help="See `convert`.")
@click.option("--size", type=Size(), default="64x32", show_default=True, help="Of the images.")
@click.option("--batch", type=Whole(2, BATCH.max), default=32, show_default=True, help="Images.")
@dtype_option
@click.option("--repeats", type=REPEATS, default=5, show_default=True)
@json_option
def goat(
    architecture: str,
    size: tuple[int, int],
    batch: int,
    dtype: str,
    repeats: int,
    as_json: bool,
) -> None:
    """Plain training against GOAT and its cheaper forms, and against the sum of their pieces.

    On one device. The pieces are forward passes for guides, 7 forward passes with the gradient to
    the images, and a plain training step.

    \b
    Examples:
      jaxreid benchmark goat
      jaxreid benchmark goat --architecture resnet50 --size 256x128 \\
          --batch 8 --repeats 3
    """  # noqa: D301
    from rich.table import Table

    from jaxreid.benchmark.timing import ratio
    from jaxreid.benchmark.training import VARIANTS, benchmark_training
    from jaxreid.cli.tables import wide_console

    result = benchmark_training(
        architecture, size=size, batch_size=batch, dtype=dtype, repeats=repeats
    )
    if as_json:
        click.echo(json.dumps({**result._asdict(), "timings": _plain(result.timings)}))
        return
    table = Table(
        title=f"{architecture}, {size[0]}x{size[1]}, batch {batch}, {dtype}: median of {repeats} "
        "rounds, taken in turns"
    )
    titles = ("", "ms per batch", "x plain", "x GOAT (4,1)", "x sum of pieces", "first call, s")
    for title in titles:
        table.add_column(title, justify="right" if title else "left")
    plain, whole = result.timings["plain"], result.timings["GOAT (4,1)"]
    for name, timing in result.timings.items():
        cells = [f"{1e3 * timing.median:,.0f}", "", "", "", f"{timing.first:.1f}"]
        if name in VARIANTS:
            cells[1:3] = f"{ratio(timing, plain):.2f}", f"{ratio(timing, whole):.2f}"
            cells[3] = f"{timing.median / result.predicted[name]:.2f}"
        table.add_row(name, *cells)
    wide_console().print(table)


def _plain(timings: dict) -> dict:
    return {name: timing._asdict() for name, timing in timings.items()}
