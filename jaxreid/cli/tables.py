"""Results as a table: mean over seeds and its spread, in both protocols, beside the paper's."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxreid.evaluation.paper import MODELS, paper_map
from jaxreid.records import Condition, Result
from jaxreid.records.budgets import budget_text

__all__ = [
    "gradient_note",
    "paper_table",
    "print_table",
    "result_line",
    "results_table",
    "side_by_side",
    "spread",
    "wide_console",
]

_PROTOCOLS = ("market1501", "torchreid")
_WIDTH = 120


def wide_console() -> Console:
    """A console for tables on standard output.

    Returns:
        As wide as the terminal; in a file or a pipe, as wide as the tables are.
    """
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table of numbers with their names in the first column.

    Args:
        title: above it.
        columns: their headings; that of the names may be empty.
        rows: of cells, as many as there are columns.
    """
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    wide_console().print(table)


def spread(values: Sequence[float]) -> str:
    """Writes shares of 1 in %: the mean, and its spread where there are several.

    Args:
        values: at least one, in [0, 1].

    Returns:
        Such as "12.3"; or the mean with the sample standard deviation, "12.3 ±0.4", and below it
        the least and the greatest, "11.9 to 12.8".
    """
    percent = [100 * value for value in values]
    mean = f"{statistics.fmean(percent):.1f}"
    if len(percent) == 1:
        return mean
    deviation = statistics.stdev(percent)
    return f"{mean} ±{deviation:.1f}\n{min(percent):.1f} to {max(percent):.1f}"


def result_line(result: Result) -> str:
    """Writes a result as one line, for when it comes.

    Args:
        result: of any condition.

    Returns:
        Attack, budget, seed and mAP.
    """
    condition = result.condition
    precision = 100 * result.scores["market1501"].mean_average_precision
    what = condition.attack
    if what != "clean":
        eps = budget_text(condition.eps, condition.norm)
        what += (
            f"{', as the paper' if condition.as_paper else ''}, eps {eps}, seed {condition.seed}"
        )
    return f"{what}: mAP {precision:.1f} % ({result.seconds:.1f} s)"


def gradient_note(nonfinite: int, zero: int, attacked: int, first: str) -> str:
    """Says how many attacked images had no gradient to follow.

    Args:
        nonfinite: images whose gradient held NaN or infinity at some step.
        zero: images whose gradient was zero at some step.
        attacked: images attacked.
        first: file name of the first of them.

    Returns:
        One line, or "" where every gradient was of use.
    """
    parts = []
    if nonfinite:
        parts.append(f"{nonfinite} of {attacked} images had a NaN or infinite gradient")
    if zero:
        parts.append(f"{zero} of {attacked} images had a gradient of zero")
    if not parts:
        return ""
    return f"{' and '.join(parts)} (first: {first}): there pixels do not move"


def _grouped(results: Sequence[Result]) -> dict[Condition, list[Result]]:
    """Results that differ in their seed alone, together."""
    groups: dict[Condition, list[Result]] = {}
    for result in results:
        groups.setdefault(dataclasses.replace(result.condition, seed=0), []).append(result)
    return groups


def results_table(results: Sequence[Result], *, paper: bool = False) -> Table:
    """All results, one row per attack and budget.

    Args:
        results: in the order of the rows.
        paper: whether a column shows what the paper found for its undefended model.

    Returns:
        A table of rich.
    """
    table = Table(caption=_caption(results), caption_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("attack", no_wrap=True)
    table.add_column("eps", justify="right", no_wrap=True)
    reranked = any(result.reranked for result in results)
    titles = [title for name in _PROTOCOLS for title in (f"{name}\nmAP", "\nrank-1")]
    if reranked:
        titles += [f"re-ranked\n{name}\nmAP" for name in _PROTOCOLS]
    if paper:
        titles.append("paper's C\nmAP")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for condition, group in _grouped(results).items():
        clean = condition.attack == "clean"
        cells = [condition.attack, "" if clean else budget_text(condition.eps, condition.norm)]
        for name in _PROTOCOLS:
            scores = [result.scores[name] for result in group]
            cells.append(spread([score.mean_average_precision for score in scores]))
            cells.append(f"{100 * statistics.fmean(score.rank1 for score in scores):.1f}")
        if reranked:
            cells += [_reranked(group, name) for name in _PROTOCOLS]
        if paper:
            cells.append(_paper_cell(condition))
        table.add_row(*cells)
    return table


def side_by_side(named: Mapping[str, Sequence[Result]]) -> Table:
    """The mAP of several models under the same attacks, one row per attack and budget.

    Args:
        named: title -> results of that model.

    Returns:
        A table of rich.
    """
    everything = [result for results in named.values() for result in results]
    table = Table(
        title="mAP in % (market1501)",
        caption=_caption(everything),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("attack", no_wrap=True)
    table.add_column("eps", justify="right", no_wrap=True)
    for title in named:
        table.add_column(Text(title), justify="right")
    columns = [_grouped(results) for results in named.values()]
    for condition in _grouped(everything):
        clean = condition.attack == "clean"
        cells = [condition.attack, "" if clean else budget_text(condition.eps, condition.norm)]
        for groups in columns:
            scores = [result.scores["market1501"] for result in groups.get(condition, ())]
            values = [score.mean_average_precision for score in scores]
            cells.append(spread(values) if values else "")
        table.add_row(*cells)
    return table


def _reranked(group: Sequence[Result], protocol: str) -> str:
    found = [result.reranked[protocol] for result in group if result.reranked]
    return spread([score.mean_average_precision for score in found]) if found else ""


def _caption(results: Sequence[Result]) -> str:
    attacked = [result for result in results if result.condition.attack != "clean"]
    condition = (attacked or results)[0].condition
    parts = [f"% by {condition.distance} distance"]
    if attacked:
        norm = "1/255, L-infinity" if condition.norm == "linf" else "length in pixel range, L2"
        parts += [f"{condition.side} attacked with guides from {condition.guides}"]
        parts += [f"eps: {norm}"]
        if any(result.condition.as_paper for result in results):
            parts.append("guides and signs as the paper's code")
        if condition.eight_bit:
            parts.append("rounded to 8 bits")
        if any(
            len({one.condition.seed for one in group}) > 1 for group in _grouped(results).values()
        ):
            parts.append("mean ±deviation, and least to greatest, over seeds")
    return "; ".join(parts)


def _like_the_paper(condition: Condition) -> bool:
    """Whether the paper's figures are of such a condition (its clean ones are of any)."""
    alike = condition.norm == "linf" and condition.side == condition.guides == "query"
    return condition.attack == "clean" or alike


def _paper_cell(condition: Condition) -> str:
    figure = None
    if _like_the_paper(condition):
        figure = paper_map(condition.attack, condition.eps, condition.distance)
    return "" if figure is None else f"{figure:g}"


def paper_table(title: str, results: Sequence[Result]) -> Table:
    """The paper's table at eps = 5/255, our model in the first row.

    Args:
        title: names our model.
        results: ours; what the paper did otherwise is left out.

    Returns:
        A table of rich.
    """
    table = Table(
        title="mAP in % (market1501: trapezoid) at eps = 5/255, queries guided by queries",
        caption="C: ResNet-50 of Bouniot et al., CVPRW 2020; their figures fit Market-1501",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("model")
    table.add_column("metric")
    attacks = tuple(MODELS[0].mean_average_precision)
    for name in attacks:
        table.add_column(name, justify="right")
    groups = _grouped([r for r in results if _like_the_paper(r.condition)])
    for distance in dict.fromkeys(condition.distance for condition in groups):
        ours = {
            condition.attack: group
            for condition, group in groups.items()
            if condition.distance == distance
            and (condition.attack == "clean" or condition.eps == 5)
        }
        cells = [
            spread([r.scores["market1501"].mean_average_precision for r in ours[name]])
            if name in ours
            else ""
            for name in attacks
        ]
        table.add_row(Text(title), distance, *cells, end_section=True)
    for model in MODELS:
        figures = (f"{model.mean_average_precision[name]:.2f}" for name in attacks)
        table.add_row(model.title, model.distance, *figures)
    return table
