"""`jaxreid benchmark ranking`: exact ranking against its lower bound and its usual form."""

import json

import click

from jaxreid.cli.benchmark_options import json_option
from jaxreid.cli.parameters import REPEATS

__all__ = ["ranking"]


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
    from rich.console import Console
    from rich.table import Table

    from jaxreid.benchmark.ranking import benchmark_ranking

    result = benchmark_ranking(size, repeats=repeats, argsort=argsort)
    if as_json:
        click.echo(json.dumps(result._asdict()))
        return
    table = Table(title=f"Ranking at the size {size}: median of {repeats} rounds, taken in turns")
    table.add_column("contestant")
    table.add_column("seconds", justify="right")
    table.add_column("first call", justify="right")
    for name, seconds in result.seconds.items():
        table.add_row(name, f"{seconds:.2f}", f"{result.first_seconds[name]:.2f}")
    console = Console()
    console.print(table)
    console.print(f"ranking / bare product: {result.to_product:.2f}")
    if result.argsort_to_ranking is not None:
        console.print(f"argsort / ranking: {result.argsort_to_ranking:.2f}")
    console.print(f"peak memory of ranking beyond the features: {result.extra_bytes / 1e6:.0f} MB")
