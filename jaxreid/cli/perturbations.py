"""Perturbations that `jaxreid universal` learned, for `jaxreid evaluate --perturbation`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxreid.cli.model.pipelines import size_text
from jaxreid.cli.parameters import WORDS, Command, add_options
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.cli.retrieval import OpenedTest
    from jaxreid.cli.settings import RetrievalSettings
    from jaxreid.evaluation import Perturbation
    from jaxreid.records import Condition

__all__ = ["open_perturbations", "perturbation_option", "wanted_of"]

_OPTION = click.option(
    "--perturbation",
    type=WORDS,
    metavar="FILE,...",
    help="Lay what `jaxreid universal` learned, on whatever model and data, on the images; then "
    "--attacks is clean by default.",
)


def perturbation_option(command: Command) -> Command:
    """Adds `--perturbation` to a command."""
    return add_options(command, (_OPTION,))


def open_perturbations(
    files: Sequence[str], settings: "RetrievalSettings"
) -> "dict[str, Perturbation]":
    """Name -> perturbation; what no perturbation can do is refused as wrong usage."""
    from jaxreid.evaluation import load_perturbation

    if not files:
        return {}
    for option, value, usual in (
        ("--norm", settings.norm, "linf"),
        ("--goal", settings.goal, "evade"),
    ):
        if value != usual:
            raise click.UsageError(f"{option} {value} cannot be given with --perturbation")
    if settings.side == "both":
        raise click.UsageError("--side both is of the worst case, not of --perturbation")
    opened = (load_perturbation(Path(file)) for file in files)
    return {one.name: one for one in opened}


def wanted_of(
    perturbations: "dict[str, Perturbation]", opened: "OpenedTest", *, eight_bit: bool
) -> "list[Condition]":
    """Their conditions on a test, of whose images another size than theirs is told."""
    from jaxreid.evaluation import learned_conditions

    settings = opened.settings
    for name, one in perturbations.items():
        if tuple(one.size) != tuple(opened.loader.size) and is_main_process():
            click.echo(
                f"note: {name} was learned from images of {size_text(one.size)}, and is laid on "
                f"those of {size_text(opened.loader.size)}"
                + (": resized" if one.attack == "universal" else ""),
                err=True,
            )
    return learned_conditions(
        list(perturbations.values()),
        side="gallery" if settings.side == "gallery" else "query",
        distance=settings.distance or "euclidean",
        eight_bit=eight_bit,
    )
