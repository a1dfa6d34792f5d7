"""A league of defenses on paper: table on the screen, record, Markdown, and the figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxreid.benchmark.league.files import write_object
from jaxreid.benchmark.league.standings import Standing, cell, front_of, markdown, table
from jaxreid.budgets import budget_text
from jaxreid.files import replacing

if TYPE_CHECKING:
    from jaxreid.report.canvas import Picture

__all__ = ["draw_front", "print_standings", "result_of", "write_league"]

_MARKERS = "osD^vPX*"
_JUDGED = "gave up, and is judged by its best weights until then"


def _budgets_text(budgets: Sequence[float]) -> str:
    texts = [budget_text(eps, "linf") for eps in budgets]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]


def result_of(
    standings: Sequence[Standing], budgets: Sequence[float], budget: str
) -> dict[str, Any]:
    """What `--json` prints and a record holds: every run, the table, and the rule of all rows.

    Args:
        standings: in the order of the table.
        budgets: in 1/255, ascending.
        budget: what each row may spend, in a sentence.
    """
    columns, cells = table(standings, budgets)
    failures = [
        f"{row.name}, seed {run.seed}, {_JUDGED if run.weights else 'is not judged'}: "
        f"{run.failure}."
        for row in standings
        for run in row.runs
        if run.failure
    ]
    rows = [
        {**row._asdict(), "runs": [run._asdict() for run in row.runs], "cost": _plain(row)}
        for row in standings
    ]
    return {
        "budgets": list(budgets),
        "budget": budget,
        "rows": rows,
        "front": front_of(standings, budgets),
        "columns": columns,
        "cells": cells,
        "closing": " ".join([budget, *failures]),
    }


def _plain(row: Standing) -> dict[str, Any] | None:
    return None if row.cost is None else row.cost._asdict()


def write_league(
    folder: Path, result: dict[str, Any], command: str, drawn: "Picture | None"
) -> None:
    """Writes defenses.json, a record as docs/benchmarks/ holds them, the table and the figure."""
    from jaxreid.benchmark.timing import describe_machine

    about = describe_machine()
    devices = "" if about.device == "cpu" else f"{about.devices} x {about.device}, "
    record: dict[str, Any] = {
        "date": about.date,
        "machine": f"{devices}{about.processor}",
        "versions": {"python": about.python, **about.versions},
        "commands": [command],
        "benchmark": "defenses",
        "result": result,
    }
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    parts = [
        "# Defenses",
        f"*{about.date}, {record['machine']}; {versions}.* `{command}`",
        markdown(result["columns"], result["cells"]),
        result["closing"],
    ]
    if drawn is not None:
        drawn.save(folder)
        parts += [f"![{drawn.alt}](defenses.svg)", drawn.caption]
    write_object(folder / "defenses.json", record)
    with replacing(folder / "defenses.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def print_standings(standings: Sequence[Standing], budgets: Sequence[float]) -> None:
    """The table in 80 columns: mAP only, means over seeds, `*` on the front."""
    from jaxreid.cli.tables import print_table

    best = front_of(standings, budgets)
    # The largest and the mean, where all would not fit.
    shown = [[eps] for eps in (budgets if len(budgets) <= 4 else budgets[-1:])]
    columns = ["", "clean", "FNA", *(f"worst\n{budget_text(one[0], 'linf')}" for one in shown)]
    rows = []
    for row in standings:
        values = [row.values("clean"), row.values("fna", budgets[-1:])]
        values += [row.values("worst", part) for part in [*shown, budgets]]
        cells = [cell(found).partition(" / ")[0].partition(" ±")[0] for found in values]
        cost = "" if row.cost is None else f"{row.cost.ratio:.2f}"
        rows.append([f"{row.name}{' *' if row.name in best else ''}", *cells, cost])
    title = f"mAP in %, mean over seeds; FNA at eps {budget_text(budgets[-1], 'linf')}"
    print_table(title, [*columns, "worst\nmean", "x step"], rows)


def draw_front(standings: Sequence[Standing], budgets: Sequence[float]) -> "Picture | None":
    """Draws clean against worst-case mAP, and the front; None where no run has weights."""
    from matplotlib.lines import Line2D

    from jaxreid.report.canvas import HUES, INK, PAPER, canvas, legend_below, picture

    points = {row.name: point for row in standings if (point := row.point(budgets)) is not None}
    if not points:
        return None
    best = front_of(standings, budgets)
    height = 3.6 + 0.2 * -(-len(points) // 2)
    with canvas(height=height, wide=True) as (figure, [axes]):
        axes.plot(
            *zip(*[_percents(points[name]) for name in best], strict=True),
            color=INK,
            lw=1.0,
            ls="--",
        )
        entries: list[tuple[Any, str]] = [(Line2D([], [], color=INK, lw=1.0, ls="--"), "front")]
        for number, row in enumerate(row for row in standings if row.name in points):
            hue, on_front = HUES[number % len(HUES)], row.name in best
            look: dict[str, Any] = {
                "color": hue,
                "marker": _MARKERS[number // len(HUES) % len(_MARKERS)],
                "mfc": hue if on_front else PAPER,
                "ls": "",
            }
            x, y = _percents(points[row.name])
            clean, worst = _deviations(row, budgets)
            axes.errorbar([x], [y], xerr=clean, yerr=worst, elinewidth=0.8, capsize=0, **look)
            entries.append((Line2D([], [], **look), row.name))
        axes.set_xlabel("clean mAP (%)")
        axes.set_ylabel("worst-case mAP (%)")
        axes.set_title(f"Worst case: mean over eps {_budgets_text(budgets)}")
        axes.margins(0.08)
        legend_below(figure, entries)
        return picture(figure, "defenses", alt=_alt(points, best, budgets), caption=_CAPTION)


_CAPTION = (
    "Filled marks are on the front: no row has more of both. Lines at a mark are the deviation "
    "over seeds."
)


def _percents(point: tuple[float, float]) -> tuple[float, float]:
    return 100 * point[0], 100 * point[1]


def _deviations(row: Standing, budgets: Sequence[float]) -> tuple[float, float]:
    from jaxreid.records import Spread

    clean, worst = row.values("clean"), row.values("worst", budgets)
    one, other = (Spread.of([100 * value for value, _ in part]) for part in (clean, worst))
    return one.deviation, other.deviation


def _alt(
    points: dict[str, tuple[float, float]], best: Sequence[str], budgets: Sequence[float]
) -> str:
    each = "; ".join(
        f"{name} {clean:.1f}, {worst:.1f}"
        for name, (clean, worst) in ((name, _percents(point)) for name, point in points.items())
    )
    return (
        f"Clean mAP against worst-case mAP in %, mean over eps {_budgets_text(budgets)}: {each}. "
        f"On the front: {', '.join(best)}."
    )
