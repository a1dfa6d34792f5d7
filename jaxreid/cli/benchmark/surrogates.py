"""`jaxreid benchmark surrogates`: the whole gallery in every step, beside the network."""

import click

from jaxreid.cli.lines import say
from jaxreid.cli.parameters import BATCH, REPEATS, SIZE, json_option, numbers_option

__all__ = ["surrogates"]


@click.command()
@numbers_option("--gallery")
@click.option("--architecture", default="resnet50", show_default=True, help="Of the network.")
@click.option("--size", type=SIZE, default="256x128", show_default=True, help="Of the images.")
@click.option("--batch", type=BATCH, default=64, show_default=True, help="Images at a time.")
@click.option("--repeats", type=REPEATS, default=5, show_default=True, help="Timed rounds.")
@json_option
def surrogates(
    gallery: str,
    architecture: str,
    size: tuple[int, int],
    batch: int,
    repeats: int,
    as_json: bool,
) -> None:
    """What exact ranks and something to climb cost in every step of an attack.

    Example: jaxreid benchmark surrogates --gallery market1501
    """
    from jaxreid.benchmark.surrogates import NETWORK, benchmark_surrogates
    from jaxreid.cli.tables import print_json, print_table

    result = benchmark_surrogates(
        gallery, architecture=architecture, size=size, batch_size=batch, repeats=repeats
    )
    if as_json:
        print_json(result)
        return
    print_table(
        f"A step of {batch} rows, gallery {gallery}: median of {repeats} rounds, taken in turns",
        ("", "ms per step", "of the network", "first call, s"),
        [
            (
                name,
                f"{1e3 * time.median:,.1f}",
                "" if name == NETWORK else f"{result.shares[name]:.2%}",
                f"{time.first:.1f}",
            )
            for name, time in result.timings.items()
        ],
    )
    say(f"{architecture} forwards and to the images; at most {result.matches} matches per row")
