"""What `jaxreid adaptive` prints: what is left by attackers who know, and by others."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from jaxreid.budgets import named_budget
from jaxreid.cli.tables import framed_table, wide_console
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.records import ADAPTIVE_FILE, AdaptiveAttack, Left, Reranked, Score

__all__ = ["adaptive_table", "attack_line", "print_adaptive", "told_behind"]

_ATTACKERS = ("clean", "oblivious", "adaptive")
_RERANKED: tuple[str, ...] = ("mAP", "rank-1", "re-ranked\nmAP", "\nrank-1")
_ALARMS = ("mAP", "rank-1", "alarms", "lost, no\nalarm", "mAP without\nalarmed")


def told_behind(attack: AdaptiveAttack) -> str:
    """What stands behind the network, in a word."""
    behind = attack.climb.behind
    return "re-ranking" if isinstance(behind, Reranked) else behind.defense


def attack_line(attack: AdaptiveAttack) -> str:
    """An attack in one line, as it is done."""
    if isinstance(attack.climb.behind, Reranked):
        what = "re-ranked mAP"
        shares = [_of(left.reranked).mean_average_precision for left in _each(attack)]
    else:
        what = "lost without an alarm"
        shares = [left.alarms.unnoticed for left in _each(attack) if left.alarms]
    told = ", ".join(
        f"{name} {100 * share:.1f}" for name, share in zip(_ATTACKERS, shares, strict=True)
    )
    return f"{told_behind(attack)}: {what}, %: {told}"


def adaptive_table(attack: AdaptiveAttack, title: str) -> Table:
    """One row per attacker, the clean queries first."""
    climb, behind = attack.climb, attack.climb.behind
    parts = [
        f"% by {climb.distance} distance, {MAIN_PROTOCOL} protocol",
        f"{attack.queries} queries attacked, eps {named_budget(climb.eps, 'linf')}, "
        f"{climb.steps} steps",
    ]
    if isinstance(behind, Reranked):
        headings, told = _RERANKED, "re-ranking"
        parts.append(f"adaptive: through re-ranking of {behind.candidates} items")
    else:
        headings, told = _ALARMS, f"a detector by {behind.defense}"
        parts += [
            f"threshold {attack.threshold:.4g}: {100 * behind.false_alarms:g} % of the clean "
            "gallery",
            "lost, no alarm: no longer found first, unnoticed",
            "last: queries with an alarm count as clean",
        ]
    table = framed_table(
        "attacker", title=escape(f"{title}, behind it {told}"), caption="; ".join(parts)
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, left in zip(_ATTACKERS, _each(attack), strict=True):
        table.add_row(name, *(f"{100 * share:.1f}" for share in _shares(left)))
    return table


def _each(attack: AdaptiveAttack) -> list[Left]:
    return [attack.clean, attack.oblivious, attack.adaptive]


def _of(scores: dict[str, Score] | None) -> Score:
    assert scores is not None
    return scores[MAIN_PROTOCOL]


def _shares(left: Left) -> list[float]:
    shares = [_of(left.scores).mean_average_precision, _of(left.scores).rank1]
    if left.alarms is None:
        reranked = _of(left.reranked)
        return [*shares, reranked.mean_average_precision, reranked.rank1]
    alarms = left.alarms
    return [*shares, alarms.raised, alarms.unnoticed, alarms.mean_average_precision]


def print_adaptive(attacks: Sequence[AdaptiveAttack], title: str, folder: Path) -> None:
    """Prints a table for each, and where the record lies."""
    console = wide_console()
    for attack in attacks:
        console.print(adaptive_table(attack, title))
    path = click.format_filename(folder / ADAPTIVE_FILE)
    console.print(f"record: {path}", markup=False, highlight=False, soft_wrap=True)
