"""`jaxreid benchmark data`: how fast images are decoded and batched."""

import json
import os
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.benchmark_options import json_option
from jaxreid.cli.parameters import IMAGES, REPEATS, WORKERS, Whole

if TYPE_CHECKING:
    from jaxreid.benchmark.data import InputTimings

__all__ = ["data"]

_DRAWN = 4096  # images drawn for a run; more would only repeat


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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from jaxreid.benchmark.data import generated_split, time_input
    from jaxreid.data.read.source import ReidSource, open_split

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def show(task: Any, name: str, done: int, total: int) -> None:
            bars.update(task, description=name, completed=done, total=total)

        first = bars.add_task("")
        source: ReidSource
        if dataset is None:
            source = generated_split(
                min(images, _DRAWN),
                progress=lambda done, total: show(first, "drawing images", done, total),
            )
        else:
            source = open_split(dataset, "train", data_dir=data_dir)
        turns = bars.add_task("")
        timings = time_input(
            source,
            images=images,
            repeats=repeats,
            workers=workers,
            progress=lambda name, done, total: show(turns, name, done, total),
        )
    if as_json:
        runs = {name: timing._asdict() for name, timing in timings.timings.items()}
        click.echo(json.dumps({**timings._asdict(), "timings": runs}))
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
