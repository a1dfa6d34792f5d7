"""What the ensembles of `jaxreid evaluate` print beside the table of all results."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxreid.budgets import budget_text
from jaxreid.cli.tables import condition_text, framed_table
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.records import Condition, Member, Result

__all__ = ["member_line", "print_members"]

_WIDTH = 80


def member_line(condition: Condition, member: Member) -> str:
    """What an ensemble has come to after one of its attacks, in one line."""
    where = f"{condition_text(condition)}, eps {budget_text(condition.eps, condition.norm)}"
    if not member.images:
        return f"{where}: {member.name}: no image has anything to lose"
    images = "1 image" if member.images == 1 else f"{member.images:,} images"
    return (
        f"{where}: {member.name} on {images}: mAP "
        f"{100 * member.mean_average_precision:.1f} %, rank-1 {100 * member.rank1:.1f} % "
        f"({member.seconds:.1f} s)"
    )


def print_members(console: Console, result: Result) -> None:
    """Prints the attacks of an ensemble in order, in 80 columns wherever it is printed.

    Args:
        console: standard output.
        result: of an ensemble.
    """
    console.print(_members_table(result), width=min(console.width, _WIDTH))


def _members_table(result: Result) -> Table:
    """The attacks of an ensemble in order: whom they ran on, what they made, what was left."""
    worst, condition = result.worst, result.condition
    assert worst is not None
    eps = budget_text(condition.eps, condition.norm)
    table = framed_table(
        "attack",
        title=f"{condition_text(condition)}, eps {eps}, seed {condition.seed}",
        caption=_caption(result),
    )
    columns = ("images", "worst\nof", "first\nmatch\nlast\nof", "mAP\nso far", "rank-1\nso far")
    if condition.goal == "impersonate":
        columns = (columns[0], "best\nof", "first\nmatch\nbest\nof", *columns[3:])
    for column in (*columns, "passes", "s"):
        table.add_column(column, justify="right", no_wrap=True)
    for member in worst.members:
        table.add_row(
            Text(member.name),
            f"{member.images:,}",
            f"{member.won:,}",
            f"{member.won_first:,}",
            f"{100 * member.mean_average_precision:.1f}",
            f"{100 * member.rank1:.1f}",
            f"{member.passes:,}",
            f"{member.seconds:.1f}",
        )
    return table


def _caption(result: Result) -> str:
    worst = result.worst
    assert worst is not None
    name = MAIN_PROTOCOL

    def precision(text: str, value: float) -> str:
        return f"{text} {100 * value:.1f}"

    poses = result.condition.goal == "impersonate"
    passes = sum(member.passes for member in worst.members) / max(result.attacked, 1)
    cost = f"{passes:,.0f} passes per image"
    if poses:
        there = result.attacked - worst.survivors
        found = f"first in {there:,} of {result.attacked:,} images"
        return f"mAP and rank-1 are of the person who is sought: {found}; {cost}"
    robust = result.scores[name]
    return "; ".join(
        [
            f"% ({name}): robust rank-1, 5, 10: "
            + ", ".join(f"{100 * r:.1f}" for r in (robust.rank1, robust.rank5, robust.rank10)),
            precision("one image per query: mAP", worst.one_image[name].mean_average_precision),
            precision("8 bits: mAP", worst.eight_bit[name].mean_average_precision),
            precision("floor", worst.floor[name]),
            f"{worst.at_floor:,} of {result.attacked:,} images stopped near the floor",
            f"a match comes first in {worst.survivors:,}",
            cost,
        ]
    )
