"""Tables: every result, and the few that a paper would print."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxreid.budgets import exact
from jaxreid.records import Spread
from jaxreid.report.runs import Curve, Point
from jaxreid.report.style import METRICS, attack_style, protocol_title
from jaxreid.report.summary import Group

__all__ = ["Comparison", "Row", "Table", "as_csv", "comparison", "csv_cell", "full_table"]

# What spreadsheets take for the beginning of a formula, full-width forms included:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


@dataclass(frozen=True)
class Row:
    """One attack at one budget.

    Attributes:
        attack: full name, with the variant.
        colour: of the attack.
        budget: such as "5/255"; "" without an attack.
        cells: one per protocol and metric, None where it is not known.
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
        reranked: whether the scores are those after re-ranking.
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


def full_table(group: Group, *, reranked: bool = False) -> Table | None:
    """All results of a group; None where re-ranking is asked for and was never done."""
    runs: dict[str, list[Row]] = {}
    for label in group.labels:
        points = [_row(group, curve, point, reranked) for curve, point in _points(group, label)]
        if rows := [row for row in points if any(row.cells)]:
            runs[label] = rows
    if not runs:
        return None
    seeds = max(len(row.point.results) for rows in runs.values() for row in rows)
    return Table([protocol_title(one) for one in group.protocols], runs, reranked, seeds)


def _points(group: Group, label: str) -> Iterator[tuple[Curve | None, Point]]:
    """All points of a run, the one without an attack first."""
    if label in group.clean:
        yield None, group.clean[label]
    for curve in group.of(label):
        for point in curve.points:
            yield curve, point


def _row(group: Group, curve: Curve | None, point: Point, reranked: bool) -> Row:
    style = attack_style(curve.attack if curve else "clean")
    name = f"{style.title} ({curve.variant})" if curve and curve.variant else style.title
    cells = [
        point.spread(protocol, metric, reranked=reranked)
        for protocol in group.protocols
        for metric in METRICS
    ]
    budget = group.panel.budget(point.eps) if curve else ""
    return Row(name, style.colour, budget, cells, point)


def comparison(group: Group) -> Comparison | None:
    """The paper's table: mAP of each run, clean and under each attack; None without attacks."""
    eps, protocol = group.eps, group.protocol
    if eps is None:
        return None
    attacks = {
        (curve.attack, curve.variant): (curve.name, attack_style(curve.attack).title)
        for curve in group.curves
        if curve.at(eps)
    }
    columns = list(attacks)
    runs: dict[str, list[Spread | None]] = {}
    lowest: dict[str, int | None] = {}
    for label in group.labels:
        points = {(curve.attack, curve.variant): curve.at(eps) for curve in group.of(label)}
        row = [group.clean.get(label), *(points.get(key) for key in columns)]
        runs[label] = [point.spread(protocol) if point else None for point in row]
        lowest[label] = _strongest_column(group, label, columns)
    heads, budget = list(attacks.values()), group.panel.budget(eps)
    return Comparison(budget, protocol_title(protocol), heads, runs, lowest)


def _strongest_column(group: Group, label: str, columns: Sequence[tuple[str, str]]) -> int | None:
    """None where the run lacks the budget of the table, and was judged at another one."""
    for strongest in group.outcomes.get(label, ())[:1]:
        if strongest.point.eps == group.eps:
            # The first column is without an attack.
            return 1 + columns.index((strongest.curve.attack, strongest.curve.variant))
    return None


def as_csv(groups: Sequence[Group]) -> str:
    """All results as comma-separated values for a spreadsheet, shares in [0, 1].

    One line per run, panel, attack, budget, protocol and metric (column "figure"). Names that a
    spreadsheet would compute begin with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("run", "panel", "attack", "variant", "eps", "protocol", "reranked", "figure")
    writer.writerow((*head, "mean", "low", "high", "deviation", "seeds"))
    for group in groups:
        for label in group.labels:
            for curve, point in _points(group, label):
                attack, variant = (curve.attack, curve.variant) if curve else ("clean", "")
                names = [csv_cell(name) for name in (label, group.panel.title, attack, variant)]
                for scores in _scores(group, point):
                    writer.writerow((*names, exact(point.eps), *scores))
    return text.getvalue()


def _scores(group: Group, point: Point) -> Iterator[tuple[str | float, ...]]:
    """Protocol, whether re-ranked, metric and its spread: the cells behind the budget."""
    for reranked, written in ((False, "no"), (True, "yes")):
        for protocol in group.protocols:
            for metric in METRICS:
                spread = point.spread(protocol, metric, reranked=reranked)
                if spread:
                    numbers = (spread.mean, spread.low, spread.high, spread.deviation)
                    yield (csv_cell(protocol), written, metric, *numbers, spread.count)


def csv_cell(text: str) -> str:
    """A cell of text, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ")[:1] in _FORMULA else text
