"""What is said of a test and of a run folder before anything is evaluated."""

from typing import TYPE_CHECKING

import click

from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.evaluation import RetrievalTest
    from jaxreid.records import RunFolder

__all__ = ["note_damage", "note_matchless"]


def note_matchless(test: "RetrievalTest") -> None:
    """Refuses queries of which none has a match, and says how many have none."""
    test.refuse_matchless()
    ranked = test.matched[test.ranked]
    if (without := int((~ranked).sum())) and is_main_process():
        click.echo(
            f"note: {without:,} of {len(ranked):,} queries have no match in the gallery: they "
            "count 0 in market1501 and are left out in torchreid",
            err=True,
        )


def note_damage(run: "RunFolder") -> None:
    """Says what of a folder could not be read and is left out or evaluated anew."""
    if lost := run.cut_off():
        lines = "1 line" if lost == 1 else f"{lost} lines"
        click.echo(f"{lines} of results.jsonl cut off by an interruption: skipped", err=True)
    if damaged := run.damaged():
        click.echo(
            f"arrays of {damaged[0].key}{' and others' * (len(damaged) > 1)} are damaged: what of "
            "them is asked for is evaluated anew",
            err=True,
        )
