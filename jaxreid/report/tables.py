"""Tables: every result, and the few that a paper would print."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxreid.records import Spread
from jaxreid.report.groups import Group
from jaxreid.report.runs import Curve, Point
from jaxreid.report.style import METRICS, attack_style, protocol_title

__all__ = ["Comparison", "Row", "Table", "comparison", "full_table", "points_of"]


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
        points = [_row(group, curve, point, reranked) for curve, point in points_of(group, label)]
        if rows := [row for row in points if any(row.cells)]:
            runs[label] = rows
    if not runs:
        return None
    seeds = max(len(row.point.results) for rows in runs.values() for row in rows)
    return Table([protocol_title(one) for one in group.protocols], runs, reranked, seeds)


def points_of(group: Group, label: str) -> Iterator[tuple[Curve | None, Point]]:
    """All points of a run, the one without an attack first."""
    if label in group.clean:
        yield None, group.clean[label]
    for curve in group.of(label):
        for point in curve.points:
            yield curve, point


def _row(group: Group, curve: Curve | None, point: Point, reranked: bool) -> Row:
    style = curve.style if curve else attack_style("clean")
    name = curve.title if curve else style.title
    cells = [
        point.spread(protocol, metric, reranked=reranked)
        for protocol in group.protocols
        for metric in METRICS
    ]
    budget = group.panel.budget(point.eps) if curve else ""
    return Row(name, style.colour, budget, cells, point)


def comparison(group: Group) -> Comparison | None:
    """The paper's table: mAP of each run, clean and under each attack; None where nobody evades."""
    eps, protocol = group.eps, group.protocol
    if eps is None or group.panel.goal != "evade":
        return None
    attacks = {curve.kind: (curve.name, curve.title) for curve in group.curves if curve.at(eps)}
    columns = list(attacks)
    runs: dict[str, list[Spread | None]] = {}
    lowest: dict[str, int | None] = {}
    for label in group.labels:
        points = {curve.kind: curve.at(eps) for curve in group.of(label)}
        row = [group.clean.get(label), *(points.get(key) for key in columns)]
        runs[label] = [point.spread(protocol) if point else None for point in row]
        lowest[label] = _strongest_column(group, label, columns)
    heads, budget = list(attacks.values()), group.panel.budget(eps)
    return Comparison(budget, protocol_title(protocol), heads, runs, lowest)


def _strongest_column(
    group: Group, label: str, columns: Sequence[tuple[str, str, str]]
) -> int | None:
    """None where the run lacks the budget of the table, and was judged at another one."""
    for strongest in group.outcomes.get(label, ())[:1]:
        if strongest.point.eps == group.eps:
            # The first column is without an attack.
            return 1 + columns.index(strongest.curve.kind)
    return None
