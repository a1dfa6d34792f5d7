"""All results for a spreadsheet: mAP and rank-1, worst case, impersonation, verification."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence

from jaxreid.budgets import exact
from jaxreid.records import Result, Spread
from jaxreid.report.groups import Group
from jaxreid.report.runs import Point
from jaxreid.report.style import METRICS
from jaxreid.report.tables import points_of

__all__ = ["as_csv", "csv_cell"]

# What spreadsheets take for the beginning of a formula, full-width forms included:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

# Protocol, whether re-ranked, name of the figure, its spread and the number of seeds.
_Cells = tuple[str | float, ...]

_SCORES = ("rank5", "rank10", "mean_inverse_negative_penalty")
_AIMED = ("first_before", "first", "first5", "first10")
_CHECKED = ("accepted", "accepted_by", "passed_by")


def as_csv(groups: Sequence[Group]) -> str:
    """All results as comma-separated values for a spreadsheet, shares in [0, 1].

    One line per run, panel, attack, budget, protocol and metric (column "figure"); a figure that no
    protocol counts has none. Names that a spreadsheet would compute begin with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("run", "panel", "attack", "variant", "eps", "protocol", "reranked", "figure")
    figures = ("mean", "low", "high", "deviation", "seeds")
    writer.writerow((*head, *figures, "knowledge", "goal", "target"))
    for group in groups:
        for label in group.labels:
            for curve, point in points_of(group, label):
                attack, variant = (curve.attack, curve.variant) if curve else ("clean", "")
                names = [csv_cell(name) for name in (label, group.panel.title, attack, variant)]
                done = point.results[0].condition
                # Columns that came later stand behind those that programs may count.
                known = done.knowledge if done.is_ensemble else ""
                more = (known, done.goal, csv_cell(done.target))
                rows = [*_scores(group, point), *_further(group.protocols, point)]
                for scores in rows:
                    writer.writerow((*names, exact(point.eps), *scores, *more))
    return text.getvalue()


def _scores(group: Group, point: Point) -> Iterator[_Cells]:
    """MAP and rank-1: the cells behind the budget."""
    for reranked, written in ((False, "no"), (True, "yes")):
        for protocol in group.protocols:
            for metric in METRICS:
                spread = point.spread(protocol, metric, reranked=reranked)
                if spread:
                    yield _cells(protocol, metric, spread, reranked=written)


def csv_cell(text: str) -> str:
    """A cell of text, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ")[:1] in _FORMULA else text


def _further(protocols: Sequence[str], point: Point) -> Iterator[_Cells]:
    """Figures that few results have: the cells behind the budget."""
    for protocol in protocols:
        if any(one.worst for one in point.results):
            for metric in _SCORES:
                if spread := point.spread(protocol, metric):
                    yield _cells(protocol, metric, spread)
            yield from _of_worst_case(protocol, point)
    if any(one.worst and one.attacked for one in point.results):
        yield from _known(point, "", "at_floor", _at_floor)
    for name in _AIMED:
        yield from _known(point, "", f"impersonation_{name}", _aimed(name))
    yield from _known(point, "", "equal_error", _equal_error)
    for name in _CHECKED:
        known = [getattr(one.verification, name) for one in point.results if one.verification]
        for rate in dict.fromkeys(rate for rates in known for rate in rates):
            yield from _known(point, "", f"{name}_at_{rate}", _checked(name, rate))


def _of_worst_case(protocol: str, point: Point) -> Iterator[_Cells]:
    for name in ("one_image", "eight_bit"):
        for metric in ("mean_average_precision", "rank1"):
            yield from _known(point, protocol, f"{name}_{metric}", _counted(name, protocol, metric))
    yield from _known(point, protocol, "floor_mean_average_precision", _floor(protocol))


def _counted(name: str, protocol: str, metric: str) -> Callable[[Result], float | None]:
    def value(result: Result) -> float | None:
        score = getattr(result.worst, name, {}).get(protocol)
        return None if score is None else float(getattr(score, metric))

    return value


def _floor(protocol: str) -> Callable[[Result], float | None]:
    return lambda result: result.worst.floor.get(protocol) if result.worst else None


def _equal_error(result: Result) -> float | None:
    return result.verification.equal_error if result.verification else None


def _at_floor(result: Result) -> float | None:
    return result.worst.at_floor / result.attacked if result.worst and result.attacked else None


def _aimed(name: str) -> Callable[[Result], float | None]:
    return lambda result: getattr(result.impersonation, name, None)


def _checked(name: str, rate: str) -> Callable[[Result], float | None]:
    return lambda result: getattr(result.verification, name, {}).get(rate)


def _known(
    point: Point, protocol: str, name: str, value: Callable[[Result], float | None]
) -> Iterator[_Cells]:
    """One line with the spread over the seeds that know the figure; none where none does."""
    values = [found for one in point.results if (found := value(one)) is not None]
    if values:
        yield _cells(protocol, name, Spread.of(values))


def _cells(protocol: str, name: str, spread: Spread, *, reranked: str = "no") -> _Cells:
    numbers = (spread.mean, spread.low, spread.high, spread.deviation, spread.count)
    return (csv_cell(protocol), reranked, name, *numbers)
