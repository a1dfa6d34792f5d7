"""Results that may stand on the same axes: threat by threat, attack by attack, over seeds."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from jaxreid.records import Condition, Result, Score
from jaxreid.records.budgets import exact
from jaxreid.report.runs import Run

__all__ = ["Curve", "Group", "Panel", "Point", "Spread", "group_runs"]


@dataclass(frozen=True)
class Spread:
    """A figure over seeds.

    Attributes:
        mean: arithmetic.
        low: smallest.
        high: largest.
        deviation: sample standard deviation; 0 with one seed.
        count: seeds.
    """

    mean: float
    low: float
    high: float
    deviation: float
    count: int


@dataclass(frozen=True)
class Panel:
    """What results must share to be compared: the threat and how images are ranked.

    Attributes:
        norm: "linf" or "l2".
        side: which images are attacked.
        guides: which set the guides come from.
        distance: "euclidean" or "cosine".
        eight_bit: whether adversarial images were rounded to 8 bits.
    """

    norm: str
    side: str
    guides: str
    distance: str
    eight_bit: bool

    @classmethod
    def of(cls, condition: Condition) -> "Panel":
        """Finds the panel of a condition.

        Args:
            condition: of a result, attacked or clean.

        Returns:
            The panel.
        """
        return cls(**{field.name: getattr(condition, field.name) for field in fields(cls)})

    @property
    def title(self) -> str:
        """Names the panel in a heading."""
        images = "queries" if self.side == "query" else "gallery images"
        source = "queries" if self.guides == "query" else "gallery"
        norm = "L∞" if self.norm == "linf" else "L2"
        rounded = ", rounded to 8 bits" if self.eight_bit else ""
        distance = {"euclidean": "Euclidean"}.get(self.distance, self.distance)
        return f"{norm} attacks on {images}, guides from {source}, {distance} distance{rounded}"

    def budget(self, eps: float) -> str:
        """Writes a budget.

        Args:
            eps: in 1/255 for linf, a length in pixel range for l2.

        Returns:
            Such as "5/255".
        """
        return f"{exact(eps)}/255" if self.norm == "linf" else f"{exact(eps)} (L2)"


@dataclass(frozen=True)
class Point:
    """One attack at one budget, over seeds.

    Attributes:
        eps: budget, in the unit of the panel's norm.
        results: one per seed, the lowest seed first.
    """

    eps: float
    results: tuple[Result, ...]

    def spread(
        self, protocol: str, figure: str = "mean_average_precision", reranked: bool = False
    ) -> Spread | None:
        """Takes a figure over seeds.

        Args:
            protocol: "market1501" or "torchreid".
            figure: a field of `Score`.
            reranked: whether to take the figures after re-ranking.

        Returns:
            The figure in [0, 1], or None where no result has it.
        """
        scores: list[Score] = []
        for result in self.results:
            of_protocol = (result.reranked or {}) if reranked else result.scores
            if protocol in of_protocol:
                scores.append(of_protocol[protocol])
        values = [float(getattr(score, figure)) for score in scores]
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return Spread(statistics.fmean(values), min(values), max(values), deviation, len(values))


@dataclass(frozen=True)
class Curve:
    """One attack of one run, over budgets.

    Attributes:
        run: label of the run.
        attack: name in `jaxreid.attacks.ATTACKS`.
        variant: what tells it from another curve of the same attack, or "".
        points: budgets above 0 in rising order.
    """

    run: str
    attack: str
    variant: str
    points: tuple[Point, ...]

    def at(self, eps: float) -> Point | None:
        """Finds a budget.

        Args:
            eps: in the unit of the panel's norm.

        Returns:
            The point, or None.
        """
        return next((point for point in self.points if point.eps == eps), None)


@dataclass(frozen=True)
class Group:
    """Everything that belongs on one pair of axes.

    Attributes:
        panel: what the results share.
        clean: label of a run -> its point without an attack, where it has one.
        curves: runs in their order, attacks in the order in which they came.
    """

    panel: Panel
    clean: dict[str, Point]
    curves: tuple[Curve, ...]

    @property
    def labels(self) -> list[str]:
        """Runs that have a figure here, in their order."""
        return list(dict.fromkeys([*self.clean, *(curve.run for curve in self.curves)]))

    def of(self, label: str) -> list[Curve]:
        """Finds the curves of a run.

        Args:
            label: of the run.

        Returns:
            Its curves.
        """
        return [curve for curve in self.curves if curve.run == label]

    @cached_property
    def eps(self) -> float | None:
        """The budget to compare attacks at: most curves have it, and it is near the usual 5/255."""
        often: dict[float, int] = defaultdict(int)
        for curve in self.curves:
            for point in curve.points:
                often[point.eps] += 1
        usual = 5.0 if self.panel.norm == "linf" else float("inf")
        return max(often, key=lambda e: (often[e], -abs(e - usual), e)) if often else None


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Sorts the results of several runs into panels, the fullest panel first.

    Args:
        runs: as `open_runs` gives them.

    Returns:
        At least one group; a distance that was only ranked clean has a group without curves.
    """
    attacked: dict[Panel, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    clean: dict[str, dict[str, Point]] = defaultdict(dict)
    for run in runs:
        for result in run.results:
            condition = result.condition
            if condition.attack == "clean":
                clean[condition.distance][run.label] = Point(0.0, (result,))
            else:
                attacked[Panel.of(condition)][run.label].append(result)
    for distance in clean:
        if not any(panel.distance == distance for panel in attacked):
            attacked[Panel("linf", "query", "query", distance, False)] = defaultdict(list)
    attacked_at: dict[str, set[str]] = defaultdict(set)
    for panel, runs_of_panel in attacked.items():
        attacked_at[panel.distance] |= set(runs_of_panel)
    groups = []
    for panel in sorted(attacked, key=lambda panel: -sum(map(len, attacked[panel].values()))):
        # A run that was only ranked clean stands beside the others once, in the fullest panel.
        idle = set(clean.get(panel.distance, {})) - attacked_at[panel.distance]
        attacked_at[panel.distance] |= idle
        shown = idle | set(attacked[panel])
        curves = [
            curve
            for run in runs
            for curve in _curves(run.label, attacked[panel].get(run.label, []))
        ]
        points = clean.get(panel.distance, {})
        groups.append(Group(panel, {k: points[k] for k in points if k in shown}, tuple(curves)))
    return groups


def _curves(label: str, results: Sequence[Result]) -> list[Curve]:
    by_attack: dict[tuple[str, bool], list[Result]] = defaultdict(list)
    for result in results:
        condition = result.condition
        if condition.eps > 0:
            by_attack[condition.attack, condition.as_paper].append(result)
    curves = []
    for (attack, as_paper), of_attack in by_attack.items():
        for name, few in _variants(of_attack).items():
            variant = ", ".join(part for part in ("as the paper" * as_paper, name) if part)
            curves.append(Curve(label, attack, variant, _points(few)))
    return curves


def _variants(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Splits an attack that was run in several ways at one budget; steps may depend on it."""

    def way(condition: Condition) -> tuple[int, float, int]:
        return condition.steps, condition.step_size, condition.restarts

    at: dict[float, set[tuple[int, float, int]]] = defaultdict(set)
    for result in results:
        at[result.condition.eps].add(way(result.condition))
    if max(map(len, at.values())) == 1:
        return {"": list(results)}
    split: dict[tuple[int, float, int], list[Result]] = defaultdict(list)
    for result in results:
        split[way(result.condition)].append(result)
    names = [_named(one, lambda number: f"{number:g}") for one in split]
    if len(set(names)) < len(names):
        # Steps that differ in the seventh digit are no less two ways.
        names = [_named(one, exact) for one in split]
    return dict(zip(names, split.values(), strict=True))


def _named(way: tuple[int, float, int], written: Callable[[float], str]) -> str:
    steps, step_size, restarts = way
    again = f", {restarts} restarts" if restarts > 1 else ""
    return f"{steps} steps of {written(step_size)}{again}"


def _points(results: Sequence[Result]) -> tuple[Point, ...]:
    at: dict[float, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.condition.seed):
        at[result.condition.eps].append(result)
    return tuple(Point(eps, tuple(at[eps])) for eps in sorted(at))
