"""What came of a league of defenses: figures over seeds, the front, and a table that is honest."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxreid.budgets import budget_text
from jaxreid.records import Spread

__all__ = [
    "CLEAN",
    "FNA",
    "UNDEFENDED",
    "WORST",
    "Run",
    "Standing",
    "StepRatio",
    "cell",
    "condition_key",
    "front",
    "front_of",
    "markdown",
    "table",
]

UNDEFENDED = "undefended"
"""The row that learns from clean images only, beside which the cost of a step is measured."""

CLEAN, FNA, WORST = "clean", "fna", "worst"


class StepRatio(NamedTuple):
    """What a training step costs.

    Attributes:
        ratio: of the time per image to the undefended row's, median over rounds.
        seconds: of a step, in each round.
        undefended: of a step of the undefended row right before it.
    """

    ratio: float
    seconds: tuple[float, ...]
    undefended: tuple[float, ...]


class Run(NamedTuple):
    """A defense with one seed.

    Attributes:
        seed: of the training.
        training: command that trains it.
        evaluation: command that judges it.
        weights: file that was judged; "" where there is none.
        scores: `condition_key` -> (mAP, rank-1) in [0, 1], protocol market1501.
        failure: why training did not come to its end; "" if it did.
    """

    seed: int
    training: str
    evaluation: str
    weights: str
    scores: dict[str, tuple[float, float]]
    failure: str = ""


class Standing(NamedTuple):
    """A row of the league.

    Attributes:
        name: of the defense.
        words: after `jaxreid train --config`, what tells it from other rows.
        runs: one per seed.
        cost: of a training step; None where it was not measured.
    """

    name: str
    words: str
    runs: tuple[Run, ...]
    cost: StepRatio | None = None

    @property
    def judged(self) -> list[Run]:
        """The runs that have weights."""
        return [run for run in self.runs if run.weights]

    def values(self, attack: str, budgets: Sequence[float] = (0.0,)) -> list[tuple[float, float]]:
        """(mAP, rank-1) in [0, 1] of each judged run, the mean over some budgets."""
        found = []
        for run in self.judged:
            pairs = [run.scores[condition_key(attack, eps)] for eps in budgets]
            precision, first = (statistics.fmean(column) for column in zip(*pairs, strict=True))
            found.append((precision, first))
        return found

    def point(self, budgets: Sequence[float]) -> tuple[float, float] | None:
        """(clean mAP, mean worst-case mAP) in [0, 1], means over seeds; None without any run."""
        if not self.judged:
            return None
        clean = statistics.fmean(value for value, _ in self.values(CLEAN))
        return clean, statistics.fmean(value for value, _ in self.values(WORST, budgets))


def condition_key(attack: str, eps: float) -> str:
    """The key of an attack (CLEAN, FNA or WORST) and a budget in 1/255 among a run's scores."""
    return attack if attack == CLEAN else f"{attack} {budget_text(eps, 'linf')}"


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names of the points that no other one dominates, from left to right.

    p dominates q if p_1 >= q_1 and p_2 >= q_2 and one of both is greater; equal points stay both.
    """

    def dominated(point: tuple[float, float]) -> bool:
        return any(
            other != point and other[0] >= point[0] and other[1] >= point[1]
            for other in points.values()
        )

    kept = [name for name, point in points.items() if not dominated(point)]
    return sorted(kept, key=lambda name: points[name])


def front_of(standings: Sequence[Standing], budgets: Sequence[float]) -> list[str]:
    """The rows on the front of clean mAP against mean worst-case mAP."""
    points = {row.name: row.point(budgets) for row in standings}
    return front({name: point for name, point in points.items() if point is not None})


def cell(values: Sequence[tuple[float, float]]) -> str:
    """Writes mAP / rank-1 in %, each with its deviation over seeds where there are several."""
    return " / ".join(_percent([pair[part] for pair in values]) for part in (0, 1) if values)


def _percent(shares: Sequence[float]) -> str:
    percent = Spread.of([100 * share for share in shares])
    return f"{percent.mean:.1f}" + (f" ± {percent.deviation:.1f}" if percent.count > 1 else "")


def table(
    standings: Sequence[Standing], budgets: Sequence[float]
) -> tuple[list[str], list[list[str]]]:
    """The columns and the cells of the table; rows on the front are bold, as Markdown has it."""
    texts = [budget_text(eps, "linf") for eps in budgets]
    best = front_of(standings, budgets)
    columns = ["", "clean", f"FNA, eps {texts[-1]}", *(f"worst case, eps {t}" for t in texts)]
    columns += ["mean worst case", "x step", "command"]
    rows = []
    for row in standings:
        cells = [cell(row.values(CLEAN)), cell(row.values(FNA, budgets[-1:]))]
        cells += [cell(row.values(WORST, [eps])) for eps in budgets]
        cells += [cell(row.values(WORST, budgets))]
        cells += ["" if row.cost is None else f"{row.cost.ratio:.2f}", f"`{row.words}`"]
        rows.append([_named(row, bold=row.name in best), *cells])
    return columns, rows


def _named(row: Standing, *, bold: bool) -> str:
    name = f"**{row.name}**" if bold else row.name
    ended, all_of_them = len(row.judged), len(row.runs)
    return name if ended == all_of_them else f"{name}, {ended} of {all_of_them} seeds"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
