"""What `jaxreid ers` prints and writes: the terms before and after the attacks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from jaxreid.cli.tables import framed_table, wide_console
from jaxreid.files import replacing
from jaxreid.records import ERS_FILE, RankingAttack, ers
from jaxreid.report.ers import draw_ers, ers_rows, told_climb, told_measure

__all__ = ["attack_line", "ers_table", "figures", "print_ers", "summary", "write_summary"]

_FIGURE, _SUMMARY = "ers", "ers.md"
_HEADINGS = ("attack", "measure", "before", "after", "term before", "term after")


def attack_line(attack: RankingAttack) -> str:
    """An attack in one line, as it is done."""
    parts = []
    for measure, measured in attack.measured.items():
        what, before, after = told_measure(measure, measured)
        parts.append(f"{what.removesuffix(', %')} {before} to {after}")
    return f"{attack.attack}: {', '.join(parts)}"


def ers_table(attacks: Sequence[RankingAttack], title: str) -> Table:
    """One row per measure, the score last."""
    table = framed_table(
        *_HEADINGS[:2],
        title=escape(title),
        caption=f"{told_climb(attacks)}; rank: share of the list that is nearer; term: 100 where "
        "nothing was achieved; ERS: their mean",
    )
    for heading in _HEADINGS[2:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in ers_rows(attacks):
        if row.attack == "ERS":
            table.add_section()
        table.add_row(*row)
    return table


def summary(attacks: Sequence[RankingAttack], title: str) -> str:
    """The same as Markdown."""
    rows = [_HEADINGS, ("---", "---", *["---:"] * 4), *ers_rows(attacks)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"# {title}", "", *lines, "", f"{told_climb(attacks)}.", ""])


def figures(attacks: Sequence[RankingAttack]) -> dict[str, Any]:
    """The same as numbers."""
    return {
        "ers": ers(attacks),
        "ers_before": ers(attacks, attacked=False),
        "attacks": {
            attack.attack: {
                measure: {"before": measured.before, "after": measured.after}
                for measure, measured in attack.measured.items()
            }
            for attack in attacks
        },
    }


def print_ers(attacks: Sequence[RankingAttack], title: str, folder: Path) -> None:
    """Prints the table, and where the rest lies."""
    console = wide_console()
    console.print(ers_table(attacks, title))
    for what, name in (("record", ERS_FILE), ("table", _SUMMARY), ("figure", f"{_FIGURE}.svg")):
        path = click.format_filename(folder / name)
        console.print(f"{what}: {path}", markup=False, highlight=False, soft_wrap=True)


def write_summary(attacks: Sequence[RankingAttack], title: str, folder: Path) -> None:
    """Writes the table as Markdown and the figure as SVG and PNG into the folder."""
    drawn = draw_ers(attacks, title, name=_FIGURE)
    drawn.save(folder)
    text = f"{summary(attacks, title)}\n![{drawn.alt}]({_FIGURE}.png)\n"
    with replacing(folder / _SUMMARY) as temporary:
        temporary.write_text(text, encoding="utf-8")
