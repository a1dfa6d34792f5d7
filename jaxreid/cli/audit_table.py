"""What `jaxreid audit` prints: the figures, and the reasons to distrust them."""

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jaxreid.budgets import budget_text
from jaxreid.cli.tables import framed_table, wide_console
from jaxreid.records import CARD_FILE, Card, Figure, Flag

__all__ = [
    "amount",
    "explanations",
    "figures_table",
    "flag_line",
    "flags_table",
    "print_card",
    "verdict",
]

_SAYS = {True: "RAISED", False: "no", None: "not known"}


def amount(number: float | None, unit: str) -> str:
    """A number in the unit of its flag: shares in %, points of mAP, ratios as they are."""
    if number is None:
        return ""
    if unit == "share":
        return f"{100 * number:.3g} %"
    return f"{number:.2f} points" if unit == "points" else f"{number:.3g}"


def flag_line(flag: Flag) -> str:
    """A raised flag in one line, as it is found."""
    limit = "" if flag.threshold is None else f", above {amount(flag.threshold, flag.unit)}"
    return f"{flag.name}: {amount(flag.number, flag.unit)}{limit}"


def figures_table(card: Card) -> Table:
    """The worst case first, then what is weaker, then the clean figure."""
    eps = budget_text(card.threat.eps, card.threat.norm)
    table = framed_table(
        "images",
        title=escape(card.title),
        caption=f"% (market1501) by {card.threat.distance} distance; queries attacked, eps {eps} "
        f"({card.threat.norm}); the attacker knows the {card.threat.knowledge}; lowest mAP known: "
        f"{card.best_known}",
    )
    table.min_width = 60
    for column in ("mAP", "rank-1"):
        table.add_column(column, justify="right")
    rows = {card.ensemble: card.worst, **card.attacks, "clean": card.clean}
    for name, figure in rows.items():
        table.add_row(Text(name), *_cells(figure))
    return table


def _cells(figure: Figure) -> tuple[str, str]:
    return f"{100 * figure.mean_average_precision:.1f}", f"{100 * figure.rank1:.1f}"


def flags_table(card: Card) -> Table:
    """One row per flag: what was measured, and the limit above which it is raised."""
    table = framed_table(
        "flag",
        title="Can these figures be trusted?",
        caption=f"measured on {card.sample} queries; a flag is raised above its limit",
    )
    table.add_column("raised")
    table.add_column("measured", justify="right")
    table.add_column("limit", justify="right")
    for flag in card.flags:
        table.add_row(
            Text(flag.name),
            Text(_SAYS[flag.raised], style="bold" if flag.raised else ""),
            amount(flag.number, flag.unit),
            amount(flag.threshold, flag.unit),
        )
    table.min_width = 60
    return table


def explanations(card: Card) -> list[Text]:
    """Of each flag that is not fine, what it means and what to do."""
    return [
        Text.assemble((flag.name, "bold"), f": {flag.meaning} What to do: {flag.advice}\n")
        for flag in card.flags
        if flag.raised is not False
    ]


def print_card(card: Card, folder: Path) -> None:
    """Prints figures, flags, what those mean that are not fine, and where the card lies."""
    console = wide_console()
    console.print(figures_table(card))
    console.print(flags_table(card))
    for text in explanations(card):
        console.print(text, width=min(console.width, 80))
    console.print(verdict(card), markup=False, highlight=False, soft_wrap=True)
    path = click.format_filename(folder / CARD_FILE)
    console.print(f"card: {path}", markup=False, highlight=False, soft_wrap=True)


def verdict(card: Card) -> str:
    """How many flags are raised, in one line."""
    unknown = sum(flag.raised is None for flag in card.flags)
    rest = f"; {unknown} could not be looked for" if unknown else ""
    if not card.raised:
        return f"no flag is raised{rest}: nothing speaks against these figures"
    names = ", ".join(flag.name for flag in card.raised)
    count = len(card.raised)
    flags = "1 flag is" if count == 1 else f"{count} flags are"
    return f"{flags} raised ({names}){rest}: do not trust these figures before you know why"
