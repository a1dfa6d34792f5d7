"""`jaxreid benchmark worst`: what the quick worst case costs per query."""

from typing import Any

import click

from jaxreid.cli.lines import say
from jaxreid.cli.parameters import BATCH, REPEATS, SIZE, dtype_option, json_option, numbers_option

__all__ = ["worst"]


@click.command()
@numbers_option("--gallery")
@click.option("--architecture", default="resnet50", show_default=True, help="Of the network.")
@click.option("--size", type=SIZE, default="256x128", show_default=True, help="Of the images.")
@click.option("--batch", type=BATCH, default=64, show_default=True, help="Queries at a time.")
@dtype_option
@click.option("--repeats", type=REPEATS, default=3, show_default=True, help="Timed rounds.")
@json_option
def worst(architecture: str, batch: int, as_json: bool, **options: Any) -> None:
    """The quick worst case per query, on random images and a random gallery.

    Example: jaxreid benchmark worst --gallery market1501
    """
    from jaxreid.benchmark.worst import PASS, benchmark_worst
    from jaxreid.cli.tables import print_json, print_table

    result = benchmark_worst(architecture, batch_size=batch, **options)
    if as_json:
        print_json(result)
        return
    alone = result.timings[PASS].median
    passes = {PASS: 1, **result.passes}
    print_table(
        f"{architecture}, {options['dtype']}, {batch} queries, gallery {result.gallery}: median of "
        f"{options['repeats']} rounds, taken in turns",
        ("", "passes", "ms per query", "x as many passes alone", "first call, s"),
        [
            (
                name,
                str(passes[name]),
                f"{1e3 * time.median / batch:,.1f}",
                f"{time.median / passes[name] / alone:.2f}",
                f"{time.first:.1f}",
            )
            for name, time in result.timings.items()
        ],
    )
    say(
        f"{1e3 * result.per_query:,.1f} ms per query that meets all attacks; at most "
        f"{result.matches} matches per query"
    )
