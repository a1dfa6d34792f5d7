"""What `jaxreid evaluate` asks and says of people being taken for each other."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from rich.table import Table

from jaxreid.budgets import budget_text
from jaxreid.cli.parameters import Command, add_options
from jaxreid.cli.tables import condition_text, framed_table, spread
from jaxreid.constants import FALSE_ACCEPT_RATES
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError
from jaxreid.records import Condition, Result, Verification

if TYPE_CHECKING:
    from jaxreid.cli.progress import Bars
    from jaxreid.cli.retrieval import OpenedTest
    from jaxreid.evaluation import Verifier

__all__ = ["goal_tables", "verification_options", "verifier_of"]

_HELD_OUT = "validation"

_OPTIONS = (
    click.option(
        "--verification",
        is_flag=True,
        help="Also judge pairs by a threshold on their distance: equal error rate, and how many "
        f"pass at false accept rates of {', '.join(FALSE_ACCEPT_RATES)}.",
    ),
    click.option(
        "--validation-split",
        metavar="NAME",
        help="Whose clean pairs choose the thresholds: the splits NAME_query and NAME_gallery, or "
        "the one split NAME.  [default: validation, people held out of training; where there are "
        "none, the pairs that are judged]",
    ),
)


def verification_options(command: Command) -> Command:
    """Adds the options to a command."""
    return add_options(command, _OPTIONS)


def verifier_of(opened: "OpenedTest", asked: str | None, bars: "Bars") -> "Verifier":
    """Opens the people whose clean pairs choose thresholds.

    Args:
        opened: the test that is judged.
        asked: --validation-split; None for the dataset's own.
        bars: show the progress of their features.

    Raises:
        InputError: splits were named that are not there.
    """
    from jaxreid.data.source import available_splits, open_split
    from jaxreid.evaluation import RetrievalTest, Verifier
    from jaxreid.evaluation.verification import choose_a_threshold

    settings = opened.settings
    name, where = str(settings.dataset), settings.data_dir
    there = available_splits(name, data_dir=where)
    wanted = asked or _HELD_OUT
    parts = [f"{wanted}_{part}" for part in ("query", "gallery")]
    if not set(parts) <= set(there):
        parts = [wanted, wanted]
    if asked and not set(parts) <= set(there):
        raise InputError(f"{name} has no split {asked!r}; there are {', '.join(there)}")
    sources = [open_split(name, part, data_dir=where) for part in parts if part in there]
    if not asked and not (sources and choose_a_threshold(*sources)):
        if is_main_process():
            click.echo(
                f"note: {name} holds out too few people to choose a threshold on: the clean pairs "
                "of query and gallery do, which flatters their own rates; --validation-split names "
                "others",
                err=True,
            )
        return Verifier()

    def progress(what: str, done: int, total: int) -> None:
        bars(f"held-out {what.rpartition(' ')[2]}", done, total)

    held_out = RetrievalTest(
        settings.defended(opened.model.embed),
        *sources,
        loader=opened.loader,
        cameras=settings.cameras,
        progress=progress,
    )
    return Verifier(held_out, chosen_on=" x ".join(dict.fromkeys(parts)))


def goal_tables(results: Sequence[Result]) -> Iterator[Table]:
    """Who was taken for whom: impersonation, then verification, where results have them."""
    aimed = [result for result in results if result.impersonation]
    if aimed:
        yield _impersonation(aimed)
    judged = [result for result in results if result.verification]
    if judged:
        yield _verification(judged)


def _rows(results: Sequence[Result]) -> Iterator[tuple[list[str], list[Result]]]:
    """The first two cells of each row, and its results over seeds."""
    groups: dict[Condition, list[Result]] = {}
    for result in results:
        groups.setdefault(dataclasses.replace(result.condition, seed=0), []).append(result)
    for condition, group in groups.items():
        clean = condition.attack == "clean"
        eps = "" if clean else budget_text(condition.eps, condition.norm)
        yield [condition_text(condition), eps], group


def _mean(group: Sequence[Result], field: str, rate: str = "") -> str:
    """A share of a verification in % over seeds; nothing where a result lacks it."""
    found = [_judged(result, field, rate) for result in group]
    known = [share for share in found if share is not None]
    return spread(known).partition("\n")[0] if len(known) == len(found) else ""


def _impersonation(results: Sequence[Result]) -> Table:
    """How often queries are found as the person they aim at."""
    columns = ("queries", "first\nbefore", "\nafter", "among 5\nafter", "among 10\nafter")
    caption = "% of queries that find the person they aim at; ranks of that person's first image"
    table = framed_table("attack", "eps", title="found as another person", caption=caption)
    for column in (*columns, "median rank\nbefore", "\nafter"):
        table.add_column(column, justify="right", overflow="fold")
    for names, group in _rows(results):
        found = [result.impersonation for result in group if result.impersonation]
        shares = (
            spread([getattr(one, name) for one in found]).partition("\n")[0]
            for name in ("first_before", "first", "first5", "first10")
        )
        ranks = (
            f"{sum(getattr(one, name) for one in found) / len(found):g}"
            for name in ("median_rank_before", "median_rank")
        )
        table.add_row(*names, str(found[0].images), *shares, *ranks)
    return table


def _verification(results: Sequence[Result]) -> Table:
    """Pairs of the same person and of two people that pass thresholds."""
    judged = [result.verification for result in results if result.verification]
    rates = sorted({rate for one in judged for rate in one.thresholds}, key=float, reverse=True)
    columns = [title for rate in rates for title in (f"FAR {rate}\nsame", "\ndifferent")]
    caption = (
        f"% of pairs that pass; thresholds by {_chosen_on(judged[0])}; different: of "
        "a query and anybody else, or, where it poses as a person, that one"
    )
    if missing := [rate for rate in FALSE_ACCEPT_RATES if rate not in rates]:
        caption += f"; too few of these pairs for a threshold at {', '.join(missing)}"
    table = framed_table("attack", "eps", title="verification", caption=caption)
    for column in ("equal\nerror", *columns):
        table.add_column(column, justify="right", overflow="fold")
    for names, group in _rows(results):
        cells = [
            _mean(group, kind, rate) for rate in rates for kind in ("accepted_by", "passed_by")
        ]
        table.add_row(*names, _mean(group, "equal_error"), *cells)
    return table


def _chosen_on(verification: Verification) -> str:
    """Whose pairs chose the thresholds."""
    from jaxreid.evaluation.verification import OWN_PAIRS

    name = verification.chosen_on
    return name if name == OWN_PAIRS else f"clean pairs of {name}"


def _judged(result: Result, field: str, rate: str = "") -> float | None:
    """A share of a verification, at a rate or overall."""
    value = getattr(result.verification, field, None)
    return value.get(rate) if isinstance(value, dict) else value
