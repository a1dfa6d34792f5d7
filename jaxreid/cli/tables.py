"""Tables and lines on standard output: results over seeds in both protocols, beside the paper's.

Benchmarks print by this module too, and run where no package that reads datasets is installed: so
`jaxreid.evaluation`, which imports them, is imported where it is needed.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import click
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from jaxreid.budgets import budget_text
from jaxreid.constants import MAIN_PROTOCOL, Distance, ProtocolName
from jaxreid.records import Condition, Result, Score, Spread

__all__ = [
    "condition_text",
    "framed_table",
    "gradient_note",
    "paper_table",
    "print_json",
    "print_table",
    "result_line",
    "results_table",
    "side_by_side",
    "spread",
    "wide_console",
]

_ANY_WIDTH = 1000  # wider than any table
_PROTOCOLS: tuple[str, ...] = get_args(ProtocolName)


def wide_console() -> Console:
    """Standard output: as wide as the terminal; in a file or a pipe, as wide as the tables are."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table of numbers with their names in the first column."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    wide_console().print(table)


def print_json(value: object) -> None:
    """Prints mappings and named tuples, one in the other, as one JSON object."""
    click.echo(json.dumps(_plain(value)))


def _plain(value: object) -> object:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def spread(values: Sequence[float]) -> str:
    """Writes shares of 1 in %: "12.3", and for several "12.3 ±0.4", then "11.9 to 12.8" below.

    The deviation is that of the sample.
    """
    percent = Spread.of([100 * value for value in values])
    if percent.count == 1:
        return f"{percent.mean:.1f}"
    mean = f"{percent.mean:.1f} ±{percent.deviation:.1f}"
    return f"{mean}\n{percent.low:.1f} to {percent.high:.1f}"


def result_line(result: Result) -> str:
    """Attack, budget, seed, mAP and time of a result, in one line."""
    condition = result.condition
    precision = 100 * result.scores[MAIN_PROTOCOL].mean_average_precision
    what = condition_text(condition)
    if what != "clean":
        paper = ", as the paper" if condition.as_paper else ""
        eps = budget_text(condition.eps, condition.norm)
        what += f"{paper}, eps {eps}, seed {condition.seed}"
    return f"{what}: mAP {precision:.1f} % ({result.seconds:.1f} s)"


def condition_text(condition: Condition) -> str:
    """The name of an attack, and what else tells one row from another.

    Only who knows the gallery may be called the worst case.
    """
    parts = [condition.attack]
    if condition.is_ensemble and condition.knowledge != "gallery":
        parts = [
            f"{condition.attack.replace('worst', 'ensemble', 1)} knowing {condition.knowledge}"
        ]
    parts += ["gallery first"] if condition.attacked_gallery else []
    parts += ["gallery attacked"] if condition.is_ensemble and condition.side == "gallery" else []
    if condition.goal == "impersonate":
        parts.append(f"as {'another' if condition.target == 'random' else condition.target}")
    parts += [f"by {condition.boost}"] if condition.boost else []
    parts += [f"from {condition.surrogate}"] if condition.surrogate else []
    return ", ".join(parts)


def gradient_note(nonfinite: int, zero: int, attacked: int, first: str) -> str:
    """How many attacked images had no gradient to follow at some step, in one line; "" if none.

    Args:
        nonfinite: images whose gradient held NaN or infinity.
        zero: images whose gradient was zero.
        attacked: images attacked.
        first: file name of the first of them.
    """
    kinds = {"a NaN or infinite gradient": nonfinite, "a gradient of zero": zero}
    parts = [f"{n} of {attacked} images had {kind}" for kind, n in kinds.items() if n]
    return f"{' and '.join(parts)} (first: {first}): there pixels do not move" if parts else ""


def results_table(results: Sequence[Result], *, paper: bool = False) -> Table:
    """All results, one row per attack and budget; `paper` adds its undefended model's mAP."""
    over_seeds = _over_seeds(results)
    reranked = any(result.reranked for result in results)
    titles = [title for name in _PROTOCOLS for title in (f"{name}\nmAP", "\nrank-1")]
    titles += [f"re-ranked\n{name}\nmAP" for name in _PROTOCOLS if reranked]
    titles += ["paper's C\nmAP"] if paper else []
    table = framed_table("attack", "eps", caption=_caption(over_seeds))
    for title in titles:
        table.add_column(title, justify="right", overflow="fold")
    for condition, group in over_seeds.items():
        cells = []
        for name in _PROTOCOLS:
            cells.append(_map_cell(group, name))
            first = [score.rank1 for score in _scores(group, name)]
            cells.append(f"{100 * statistics.fmean(first):.1f}" if first else "")
        cells += [_map_cell(group, name, reranked=True) for name in _PROTOCOLS if reranked]
        cells += [_paper_cell(condition)] if paper else []
        table.add_row(*_names(condition), *cells)
    return table


def side_by_side(named: Mapping[str, Sequence[Result]]) -> Table:
    """The mAP of several models (title -> results), one row per attack and budget."""
    everything = _over_seeds([result for results in named.values() for result in results])
    table = framed_table(
        "attack", "eps", title="mAP in % (market1501)", caption=_caption(everything)
    )
    for name in named:
        table.add_column(Text(name), justify="right")
    columns = [_over_seeds(results) for results in named.values()]
    for condition in everything:
        cells = [_map_cell(groups.get(condition, ()), MAIN_PROTOCOL) for groups in columns]
        table.add_row(*_names(condition), *cells)
    return table


def paper_table(title: str, results: Sequence[Result]) -> Table:
    """The paper's table at eps = 5/255, our model first; what it did otherwise is left out."""
    from jaxreid.evaluation.paper import MODELS

    table = framed_table(
        "model",
        "metric",
        title="mAP in % (market1501: trapezoid) at eps = 5/255, queries guided by queries",
        caption="C: ResNet-50 of Bouniot et al., CVPRW 2020; their figures fit Market-1501",
    )
    attacks = tuple(MODELS[0].mean_average_precision)
    for name in attacks:
        table.add_column(name, justify="right")
    ours: dict[Distance, dict[str, list[Result]]] = {}
    for condition, group in _over_seeds(results).items():
        if _is_as_in_the_paper(condition):
            row = ours.setdefault(condition.distance, {})
            if condition.attack == "clean" or condition.eps == 5:
                row[condition.attack] = group
    for distance, row in ours.items():
        cells = [_map_cell(row.get(name, ()), MAIN_PROTOCOL) for name in attacks]
        table.add_row(Text(title), distance, *cells, end_section=True)
    for model in MODELS:
        figures = (f"{model.mean_average_precision[name]:.2f}" for name in attacks)
        table.add_row(model.title, model.distance, *figures)
    return table


class _Fitting(Table):
    """A table that moves its columns together where the terminal is too narrow for it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = Measurement.get(console, options.update_width(_ANY_WIDTH), self).maximum
        self.collapse_padding = whole > options.max_width
        self.pad_edge = not self.collapse_padding
        yield from super().__rich_console__(console, options)


def framed_table(*names: str, title: str | None = None, caption: str) -> Table:
    """A table whose first columns name its rows; a budget is a number and stands on the right."""
    table = _Fitting(title=title, caption=caption, box=box.SIMPLE_HEAD)
    table.title_justify = table.caption_justify = "left"
    for name in names:
        budget = name == "eps"
        # Long names break where the terminal is narrow; a number that is cut is none.
        table.add_column(
            name, justify="right" if budget else "left", no_wrap=budget, overflow="fold"
        )
    return table


def _over_seeds(results: Sequence[Result]) -> dict[Condition, list[Result]]:
    """Results that differ in their seed alone, together."""
    groups: dict[Condition, list[Result]] = {}
    for result in results:
        groups.setdefault(dataclasses.replace(result.condition, seed=0), []).append(result)
    return groups


def _names(condition: Condition) -> tuple[str, str]:
    """The cells that name a row: attack and budget."""
    clean = condition.attack == "clean"
    return condition_text(condition), "" if clean else budget_text(condition.eps, condition.norm)


def _scores(group: Sequence[Result], protocol: str, *, reranked: bool = False) -> list[Score]:
    """Those of the results that were scored by the protocol."""
    scores = [(one.reranked or {}) if reranked else one.scores for one in group]
    return [one[protocol] for one in scores if protocol in one]


def _map_cell(group: Sequence[Result], protocol: str, *, reranked: bool = False) -> str:
    """The mAP over seeds; nothing where no result has it."""
    scores = _scores(group, protocol, reranked=reranked)
    return spread([score.mean_average_precision for score in scores]) if scores else ""


def _caption(over_seeds: Mapping[Condition, Sequence[Result]]) -> str:
    attacked = [condition for condition in over_seeds if condition.attack != "clean"]
    first = next(iter(attacked or over_seeds))
    parts = [f"% by {first.distance} distance"]
    if attacked:
        norm = "1/255, L-infinity" if first.norm == "linf" else "length in pixel range, L2"
        parts += [f"{first.side} attacked with guides from {first.guides}", f"eps: {norm}"]
        if any(condition.as_paper for condition in attacked):
            parts.append("guides and signs as the paper's code")
        if first.eight_bit:
            parts.append("rounded to 8 bits")
        if any(len({r.condition.seed for r in group}) > 1 for group in over_seeds.values()):
            parts.append("mean ±deviation, and least to greatest, over seeds")
    return "; ".join(parts)


def _is_as_in_the_paper(condition: Condition) -> bool:
    """Whether the paper's figures are of such a condition (its clean ones are of any)."""
    alike = condition.norm == "linf" and condition.side == condition.guides == "query"
    return condition.attack == "clean" or alike


def _paper_cell(condition: Condition) -> str:
    from jaxreid.evaluation.paper import paper_map

    known = _is_as_in_the_paper(condition)
    figure = paper_map(condition.attack, condition.eps, condition.distance) if known else None
    return "" if figure is None else f"{figure:g}"
