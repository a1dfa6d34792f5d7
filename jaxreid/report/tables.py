"""Tables: every result, and the few that a paper would print."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from jaxreid.records.budgets import exact
from jaxreid.report.grouping import Curve, Group, Point, Spread
from jaxreid.report.strikes import main_protocol, short_name
from jaxreid.report.style import FIGURES, PROTOCOLS, attack_style
from jaxreid.report.text import csv_cell

__all__ = ["Comparison", "Row", "Table", "as_csv", "comparison", "full_table", "protocols_of"]


@dataclass(frozen=True)
class Row:
    """One attack at one budget.

    Attributes:
        attack: full name, with the variant.
        colour: of the attack.
        budget: such as "5/255"; "" without an attack.
        cells: one per protocol and figure, None where it is not known.
        point: the results.
    """

    attack: str
    colour: str
    budget: str
    cells: list[Spread | None]
    point: Point

    @property
    def seconds(self) -> float:
        """Mean time of an attack and its ranking, in seconds."""
        return sum(one.seconds for one in self.point.results) / len(self.point.results)

    @property
    def largest_change(self) -> float:
        """Largest change of a pixel, in 1/255."""
        return max(one.largest_change for one in self.point.results)


@dataclass(frozen=True)
class Table:
    """All results of a group.

    Attributes:
        protocols: over the columns, as a report names them.
        runs: label -> rows, the clean one first.
        reranked: whether the figures are those after re-ranking.
        seeds: largest number of seeds of a row.
    """

    protocols: list[str]
    runs: dict[str, list[Row]]
    reranked: bool
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """Models below each other, attacks beside each other, at one budget.

    Attributes:
        budget: such as "5/255".
        protocol: as a report names it.
        attacks: heads of the columns: short and full name.
        runs: label -> mAP without an attack, then under each; None where it is not known.
        lowest: label -> index of the strongest attack in that row, or None.
    """

    budget: str
    protocol: str
    attacks: list[tuple[str, str]]
    runs: dict[str, list[Spread | None]]
    lowest: dict[str, int | None]


def protocols_of(group: Group) -> list[str]:
    """Lists the protocols that any result of a group has.

    Args:
        group: any.

    Returns:
        Keys of `Result.scores`: those that a report knows first.
    """
    points = [*group.clean.values(), *(point for curve in group.curves for point in curve.points)]
    found = {protocol for point in points for one in point.results for protocol in one.scores}
    return [*(p for p in PROTOCOLS if p in found), *sorted(found - set(PROTOCOLS))]


def full_table(group: Group, *, reranked: bool = False) -> Table | None:
    """Lists everything of a group.

    Args:
        group: any.
        reranked: whether to show the figures after re-ranking.

    Returns:
        The table; None where re-ranking is asked for and was never done.
    """
    protocols = protocols_of(group)
    runs: dict[str, list[Row]] = {}
    for label in group.labels:
        clean = group.clean.get(label)
        rows = [_row(group, None, clean, protocols, reranked)] if clean else []
        for curve in group.of(label):
            rows += [_row(group, curve, point, protocols, reranked) for point in curve.points]
        runs[label] = [row for row in rows if any(row.cells)]
    runs = {label: rows for label, rows in runs.items() if rows}
    if not runs:
        return None
    seeds = max(len(row.point.results) for rows in runs.values() for row in rows)
    return Table([PROTOCOLS.get(p, p) for p in protocols], runs, reranked, seeds)


def _row(
    group: Group, curve: Curve | None, point: Point, protocols: Sequence[str], reranked: bool
) -> Row:
    style = attack_style(curve.attack if curve else "clean")
    name = f"{style.title} ({curve.variant})" if curve and curve.variant else style.title
    cells = [point.spread(p, figure, reranked) for p in protocols for figure in FIGURES]
    budget = group.panel.budget(point.eps) if curve else ""
    return Row(name, style.colour, budget, cells, point)


def comparison(group: Group) -> Comparison | None:
    """Makes the paper's table: mAP of each run, without an attack and under each.

    Args:
        group: any.

    Returns:
        The table; None without attacks.
    """
    protocol, eps = main_protocol(group), group.eps
    if protocol is None or eps is None:
        return None
    attacks = {
        (curve.attack, curve.variant): (short_name(curve), attack_style(curve.attack).title)
        for curve in group.curves
        if curve.at(eps)
    }
    runs: dict[str, list[Spread | None]] = {}
    lowest: dict[str, int | None] = {}
    for label in group.labels:
        clean = group.clean.get(label)
        points = {(curve.attack, curve.variant): curve.at(eps) for curve in group.of(label)}
        attacked = [points.get(key) for key in attacks]
        cells = [point.spread(protocol) if point else None for point in (clean, *attacked)]
        runs[label] = cells
        means = [(cell.mean, index) for index, cell in enumerate(cells) if cell and index]
        lowest[label] = min(means)[1] if means else None
    heads = list(attacks.values())
    budget = group.panel.budget(eps)
    return Comparison(budget, PROTOCOLS.get(protocol, protocol), heads, runs, lowest)


def as_csv(groups: Sequence[Group]) -> str:
    """Writes all results for a spreadsheet.

    Args:
        groups: of a report.

    Returns:
        Comma-separated values: one line per run, panel, attack, budget, protocol and figure; shares
        are in [0, 1]. Names that a spreadsheet would compute begin with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("run", "panel", "attack", "variant", "eps", "protocol", "reranked", "figure")
    writer.writerow((*head, "mean", "low", "high", "deviation", "seeds"))
    for group in groups:
        for label in group.labels:
            clean = group.clean.get(label)
            rows = [("clean", "", clean)] if clean else []
            rows += [(c.attack, c.variant, point) for c in group.of(label) for point in c.points]
            for attack, variant, point in rows:
                for reranked in (False, True):
                    for protocol in protocols_of(group):
                        for figure in FIGURES:
                            spread = point.spread(protocol, figure, reranked)
                            if spread is None:
                                continue
                            writer.writerow(
                                (
                                    *map(csv_cell, (label, group.panel.title, attack, variant)),
                                    *(exact(point.eps), csv_cell(protocol)),
                                    *("yes" if reranked else "no", figure),
                                    *(spread.mean, spread.low, spread.high, spread.deviation),
                                    spread.count,
                                )
                            )
    return text.getvalue()
