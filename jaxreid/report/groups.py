"""Results that compare, together: who may stand on the same axes, and which attack is strongest."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jaxreid.constants import Distance
from jaxreid.records import Condition, Result, Spread, WorstCase
from jaxreid.report.runs import Curve, Panel, Point, Run, curves_of
from jaxreid.report.style import PROTOCOLS, AttackStyle, is_published

__all__ = ["Group", "Outcome", "groups_of"]


@dataclass(frozen=True)
class Outcome:
    """What one attack leaves of one run at the budget of comparison.

    Attributes:
        curve: of the attack.
        point: at the budget.
        spread: of mAP over seeds, in [0, 1].
    """

    curve: Curve
    point: Point
    spread: Spread

    @property
    def remaining(self) -> float:
        """The mAP that is left: mean over seeds, in [0, 1]."""
        return self.spread.mean

    @property
    def name(self) -> str:
        """Short name of the attack and of its variant."""
        return self.curve.name

    @property
    def style(self) -> AttackStyle:
        """How the attack looks."""
        return self.curve.style

    @property
    def is_noise(self) -> bool:
        """Whether the change is random, and follows no gradient."""
        return self.curve.attack == "noise"

    @property
    def is_worst_case(self) -> bool:
        """Whether it is the worst of every image that an ensemble with the gallery met."""
        return self.curve.is_worst_case

    @property
    def is_single(self) -> bool:
        """Whether it is one attack that follows gradients, and no ensemble of them."""
        return not self.is_noise and not self.curve.condition.is_ensemble

    @property
    def is_published(self) -> bool:
        """Whether it is an attack by which a paper says what a model withstands."""
        return self.is_single and is_published(self.curve.attack)

    @property
    def is_quick(self) -> bool:
        """Whether it is a first look at an ensemble."""
        return self.curve.attack.endswith("-quick")

    @property
    def worst(self) -> WorstCase | None:
        """How an ensemble's scores came about, of the lowest seed that tells."""
        return next((one.worst for one in self.point.results if one.worst), None)


@dataclass(frozen=True)
class Group:
    """All results of one panel.

    Attributes:
        panel: what the results share.
        clean: label of a run -> its point without an attack, where it has one.
        curves: runs in their order, attacks in the order in which they came.
        protocols: keys of `Result.scores` that any result has, those that a report knows first.
        eps: budget at which attacks are compared: one that has a worst case, if any has; most
            curves have it, and it is near the usual 5/255; None without attacks.
        outcomes: label of an attacked run -> the worst case, then its attacks, the strongest first,
            at `eps` or at the nearest budget that the run has.
    """

    panel: Panel
    clean: dict[str, Point]
    curves: tuple[Curve, ...]
    protocols: tuple[str, ...]
    eps: float | None
    outcomes: dict[str, tuple[Outcome, ...]]

    @property
    def protocol(self) -> str:
        """Of figures and sentences: Market-1501's where it is known, which the paper uses."""
        return next(iter(self.protocols), "")

    @property
    def labels(self) -> list[str]:
        """Runs that have a result here, in their order."""
        return list(dict.fromkeys([*self.clean, *(curve.run for curve in self.curves)]))

    def of(self, label: str) -> list[Curve]:
        """The curves of a run."""
        return [curve for curve in self.curves if curve.run == label]

    def series(self, curve: Curve, metric: str) -> tuple[list[float], list[Spread]]:
        """Budgets and values of a metric along a curve, from the point without an attack on."""
        clean = self.clean.get(curve.run)
        points = [*([clean] if clean else []), *curve.points]
        spreads = [(point.eps, point.spread(self.protocol, metric)) for point in points]
        known = [(eps, spread) for eps, spread in spreads if spread]
        return [eps for eps, _ in known], [spread for _, spread in known]


def groups_of(runs: Sequence[Run]) -> Iterator[Group]:
    """The fullest first, and others' names and galleries last.

    A distance that was only ranked clean has a group without curves.
    """
    clean: dict[Distance, dict[str, Point]] = defaultdict(dict)
    attacked: dict[Panel, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for result in run.results:
            if result.condition.attack == "clean":
                clean[result.condition.distance][run.label] = Point(0.0, (result,))
            else:
                attacked[Panel.of(result.condition)][run.label].append(result)
    for distance in clean:
        if not any(panel.distance == distance for panel in attacked):
            attacked[Panel.of(Condition(distance=distance))] = {}
    placed = {(panel.distance, label) for panel, of in attacked.items() for label in of}
    _move_ensembles(attacked)
    for panel in sorted(attacked, key=lambda panel: _order(panel, attacked[panel])):
        points = clean[panel.distance]
        # A run that was only ranked clean stands beside the others once, in the fullest panel.
        idle = {label for label in points if (panel.distance, label) not in placed}
        placed |= {(panel.distance, label) for label in idle}
        shown = {k: point for k, point in points.items() if k in idle or k in attacked[panel]}
        curves = [
            curve
            for label, results in attacked[panel].items()
            for curve in curves_of(label, results)
        ]
        yield _group(panel, shown, curves)


def _order(panel: Panel, of_runs: Mapping[str, Sequence[Result]]) -> tuple[bool, bool, int]:
    count = sum(map(len, of_runs.values()))
    return panel.goal != "evade", panel.attacked_gallery, -count


def _move_ensembles(attacked: dict[Panel, dict[str, list[Result]]]) -> None:
    """Puts ensembles beside attacks that differ in where guides come from, which they need not."""
    for panel in list(attacked):
        results = [one for of_run in attacked[panel].values() for one in of_run]
        if not results or not all(one.condition.is_ensemble for one in results):
            continue
        others = [p for p in attacked if p != panel and replace(p, guides=panel.guides) == panel]
        for other in others[:1]:
            for label, moved in attacked.pop(panel).items():
                attacked[other].setdefault(label, []).extend(moved)


def _group(panel: Panel, clean: dict[str, Point], curves: Sequence[Curve]) -> Group:
    points = [*clean.values(), *(point for curve in curves for point in curve.points)]
    found = {protocol for point in points for one in point.results for protocol in one.scores}
    protocols = (*(p for p in PROTOCOLS if p in found), *sorted(found - set(PROTOCOLS)))
    worst = [curve for curve in curves if curve.is_worst_case]
    often = Counter(point.eps for curve in curves for point in curve.points)
    if worst:
        with_worst = {point.eps for curve in worst for point in curve.points}
        often = Counter({eps: often[eps] for eps in with_worst})
    usual = 5.0 if panel.norm == "linf" else float("inf")
    eps = max(often, key=lambda e: (often[e], -abs(e - usual), e), default=None)
    outcomes = {}
    for label in dict.fromkeys(curve.run for curve in curves):
        mine = [curve for curve in curves if curve.run == label]
        outcomes[label] = _outcomes(mine, eps or 0.0, next(iter(protocols), ""))
    return Group(panel, clean, tuple(curves), protocols, eps, outcomes)


def _outcomes(curves: Sequence[Curve], wanted: float, protocol: str) -> tuple[Outcome, ...]:
    """The attacks of a run at the budget nearest to the one that is wanted, the strongest first.

    Where the worst case is known at another budget than that one, it is looked at there.
    """
    worst = [curve for curve in curves if curve.is_worst_case]
    budgets = {point.eps for curve in worst or curves for point in curve.points}
    eps = min(budgets, key=lambda budget: (abs(budget - wanted), budget))
    points = [(curve, curve.at(eps)) for curve in curves]
    spreads = [(curve, point, point.spread(protocol)) for curve, point in points if point]
    known = [Outcome(curve, point, spread) for curve, point, spread in spreads if spread]
    return tuple(sorted(known, key=lambda one: (one.curve.precedence, one.remaining)))
