"""`jaxreid benchmark guides`: how long the choice of guides takes."""

import json

import click

from jaxreid.cli.benchmark_options import json_option
from jaxreid.cli.parameters import REPEATS

__all__ = ["guides"]


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
    from rich.console import Console
    from rich.table import Table

    from jaxreid.benchmark.guides import benchmark_guides

    times = benchmark_guides(size, repeats=repeats)
    if as_json:
        click.echo(json.dumps({name: time._asdict() for name, time in times.items()}))
        return
    table = Table(title=f"Guides at the size {size}: median of {repeats} rounds, taken in turns")
    table.add_column("selection")
    table.add_column("milliseconds", justify="right")
    table.add_column("first call", justify="right")
    for name, time in times.items():
        table.add_row(name, f"{1e3 * time.median:.1f}", f"{1e3 * time.first:.0f}")
    Console().print(table)
