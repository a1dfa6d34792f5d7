"""Checks of the attack: what an ascent that works does, and one that is led astray does not."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxreid.constants import Norm
from jaxreid.evaluation.audit.climbs import Climb, Searched, climb, measured, random_search
from jaxreid.evaluation.audit.flags import judged, unknown
from jaxreid.records import Flag

__all__ = ["Effort", "Runs", "attack_flags", "run_attacks"]

# A difference of average precision that counts.
_POINT = 0.01
# As much as between two images near the end of an ascent that is settling.
_SETTLING = 0.02
# With a quarter of the pixel range in each value, any image can be made to look like another.
_LARGE = 64 / 255
_FACTORS = (0.25, 0.5, 2.0, 4.0)


class Effort(NamedTuple):
    """How much is computed.

    Attributes:
        sample: queries.
        steps: of an ascent.
        starts: random starts, at least 2.
        queries: of the random search.
    """

    sample: int
    steps: int
    starts: int
    queries: int


class Runs(NamedTuple):
    """Attacks on one sample.

    Attributes:
        starts: ascents of the same steps from several starts; the first one is also the reference.
        longer: from the first start, twice the steps.
        budgets: (eps in pixel range, least average precision [S]), ascending, the budget of the
            others and the largest one among them.
        floor: [S], average precision where all matches come last.
        searched: [S], what the random search leaves.
        transferred: [S], what images made against a surrogate leave; None without one.
    """

    starts: tuple[Climb, ...]
    longer: Climb
    budgets: tuple[tuple[float, np.ndarray], ...]
    floor: np.ndarray
    searched: np.ndarray
    transferred: np.ndarray | None


def budgets_of(eps: float, norm: Norm, size: tuple[int, int]) -> list[float]:
    """Budgets of the curve in pixel range, ascending: parts and multiples of eps, and 64/255.

    By L2 the largest is the length of a change of 64/255 in every value.
    """
    largest = _LARGE if norm == "linf" else _LARGE * float(np.sqrt(3 * size[0] * size[1]))
    below = [factor * eps for factor in _FACTORS if factor * eps < largest]
    return sorted({*below, eps, max(largest, eps)})


def run_attacks(
    setting: Searched,
    eps: float,
    effort: Effort,
    *,
    surrogate: Searched | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Runs:
    """Attacks the sample over and over.

    Args:
        setting: the sample and its searches.
        eps: budget in pixel range.
        effort: how much is computed.
        surrogate: the same queries in the features of another model.
        progress: called with (what, steps done, steps in all).

    Returns:
        Runs.
    """
    height, width = setting.sample.images.shape[1:3]
    budgets = budgets_of(eps, setting.norm, (height, width))
    others = [budget for budget in budgets if budget != eps]
    ascents = effort.starts + 2 + len(others) + (surrogate is not None)
    # A pass without a gradient takes a third of one with it.
    meter = _Meter(progress, ascents * effort.steps + effort.queries // 3)
    starts = []
    for start in range(effort.starts):
        starts.append(climb(setting, eps=eps, steps=effort.steps, start=start))
        meter.add(effort.steps)
    longer = climb(setting, eps=eps, steps=2 * effort.steps)
    meter.add(2 * effort.steps)
    curve = {eps: starts[0].worst}
    for budget in others:
        curve[budget] = climb(setting, eps=budget, steps=effort.steps).worst
        meter.add(effort.steps)
    transferred = None
    if surrogate is not None:
        made = climb(surrogate, eps=eps, steps=effort.steps)
        transferred = measured(setting, np.asarray(made.images))
        meter.add(effort.steps)
    found = random_search(setting, eps=eps, queries=effort.queries)
    meter.add(effort.queries // 3)
    pairs = tuple((budget, curve[budget]) for budget in budgets)
    return Runs(tuple(starts), longer, pairs, setting.floor, found, transferred)


class _Meter:
    """Progress over all attacks of an audit, in steps."""

    def __init__(self, progress: Callable[[str, int, int], None] | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, steps: int) -> None:
        """So many steps more are done."""
        self._done += steps
        if self._progress is not None:
            self._progress("audit", self._done, self._total)


def attack_flags(runs: Runs) -> list[Flag]:
    """What the course of the attacks says of the figures; eight flags.

    Args:
        runs: of `run_attacks`.

    Returns:
        "random search", "transfer", "more steps", "restarts", "larger eps", "above floor", "last
        iterate", "misfit".
    """
    first, each = runs.starts[0], np.stack([run.worst for run in runs.starts])
    best = np.minimum(each.min(axis=0), runs.longer.worst)
    return [
        judged("random search", _beaten(best, runs.searched), note=_left(best, runs.searched)),
        _transfer(best, runs.transferred),
        judged("more steps", 100 * float(np.mean(first.worst - runs.longer.worst))),
        judged("restarts", 100 * float(np.mean(each.mean(axis=0) - each.min(axis=0)))),
        judged("larger eps", _rise([worst for _, worst in runs.budgets])),
        judged("above floor", 100 * float(np.mean(runs.budgets[-1][1] - runs.floor))),
        judged("last iterate", _last(first)),
        judged("misfit", _misfit(first)),
    ]


def _beaten(best: np.ndarray, other: np.ndarray) -> float:
    """Share of queries of which another attack takes a point more than all ascents."""
    return float(np.mean(other < best - _POINT))


def _left(best: np.ndarray, other: np.ndarray) -> str:
    """What both leave of the sample, in words."""
    return (
        f"(It leaves {100 * other.mean():.1f} % mAP of the sample, they {100 * best.mean():.1f}.)"
    )


def _transfer(best: np.ndarray, transferred: np.ndarray | None) -> Flag:
    if transferred is None:
        return unknown(
            "transfer",
            "No surrogate was given, so that images made against another model were not tried.",
            "Name a model of the same data that is easy to attack: --surrogate MODEL.",
        )
    return judged("transfer", _beaten(best, transferred), note=_left(best, transferred))


def _rise(curve: Sequence[np.ndarray]) -> float:
    """Largest rise of the mean, in points of mAP, from one budget to a larger one."""
    means = [float(np.mean(worst)) for worst in curve]
    lowest = np.minimum.accumulate(means)
    rises = [later - low for later, low in zip(means[1:], lowest, strict=False)]
    return 100 * max([0.0, *rises])


def _last(run: Climb) -> float:
    """Share of queries whose last image leaves two points more than their best one."""
    return float(np.mean(np.asarray(run.precision)[:, -1] > run.worst + _SETTLING))


def _misfit(run: Climb) -> float:
    """Share of queries where the image of the highest value is found better than the start."""
    value, precision = np.asarray(run.value), np.asarray(run.precision)
    at = np.argmax(np.where(np.isnan(value), -np.inf, value), axis=1)[:, None]
    rose = np.take_along_axis(value, at, axis=1)[:, 0] > value[:, 0]
    easier = np.take_along_axis(precision, at, axis=1)[:, 0] > precision[:, 0] + _POINT
    return float(np.mean(rose & easier))
