"""What the runs of a report show, computed once: sentences, tables and figures read it here."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxreid.constants import Distance
from jaxreid.records import Condition, Result, Spread
from jaxreid.report.runs import Curve, Panel, Point, Run, curves_of
from jaxreid.report.style import PROTOCOLS, AttackStyle, attack_style

__all__ = ["Group", "Outcome", "RunSummary", "Summary", "summarize"]


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
        return attack_style(self.curve.attack)

    @property
    def is_noise(self) -> bool:
        """Whether the change is random, and follows no gradient."""
        return self.curve.attack == "noise"


@dataclass(frozen=True)
class Group:
    """All results of one panel.

    Attributes:
        panel: what the results share.
        clean: label of a run -> its point without an attack, where it has one.
        curves: runs in their order, attacks in the order in which they came.
        protocols: keys of `Result.scores` that any result has, those that a report knows first.
        eps: budget at which attacks are compared: most curves have it, and it is near the usual
            5/255; None without attacks.
        outcomes: label of an attacked run -> its attacks, the strongest first, at `eps` or at the
            nearest budget that the run has.
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


@dataclass(frozen=True)
class RunSummary:
    """A run where it is best judged.

    Attributes:
        label: of the run.
        group: the fullest group in which it is attacked, else the fullest in which it has a result.
        clean: its point without an attack, or None.
        outcomes: its attacks, the strongest first; none where it was only ranked clean.
    """

    label: str
    group: Group
    clean: Point | None
    outcomes: tuple[Outcome, ...]

    @property
    def strongest(self) -> Outcome | None:
        """The attack that leaves least, or None without attacks."""
        return next(iter(self.outcomes), None)

    def clean_score(self, metric: str = "mean_average_precision") -> Spread | None:
        """A field of `Score` of the clean images in the group's protocol, or None."""
        return self.clean.spread(self.group.protocol, metric) if self.clean else None


@dataclass(frozen=True)
class Summary:
    """What a report knows.

    Attributes:
        runs: at least one; others are compared with the first.
        groups: the fullest first.
        by_run: label -> where the run is best judged, in the order of the runs; without runs that
            have no result to show.
    """

    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    by_run: dict[str, RunSummary]

    def stored(
        self, label: str, file_of: Callable[[Condition], Path]
    ) -> list[tuple[Condition, Panel]]:
        """Finds one condition per attack and panel that has a file, near the budget of comparison.

        Not every condition has examples or a map of features.

        Args:
            label: of the run.
            file_of: where the arrays of a condition would be.

        Returns:
            Conditions with their panels; within a panel the strongest attack comes first.
        """
        chosen = []
        for group in self.groups:
            ranked = [outcome.curve for outcome in group.outcomes.get(label, ())]
            others = [curve for curve in group.of(label) if curve not in ranked]
            wanted = group.eps or 0.0
            for curve in (*ranked, *others):
                near = sorted(curve.points, key=lambda point: abs(point.eps - wanted))
                conditions = [result.condition for point in near for result in point.results]
                having = next((c for c in conditions if file_of(c).is_file()), None)
                if having:
                    chosen.append((having, group.panel))
        return chosen


def summarize(runs: Sequence[Run]) -> Summary:
    """Sorts the results of several runs into groups that compare, and ranks their attacks.

    Args:
        runs: as `open_runs` gives them.

    Returns:
        The summary.
    """
    groups = tuple(_groups(runs))
    by_run = {}
    for run in runs:
        here = [group for group in groups if run.label in group.labels]
        home = next((group for group in here if group.outcomes.get(run.label)), None)
        home = home or next(iter(here), None)
        if home:
            clean, outcomes = home.clean.get(run.label), home.outcomes.get(run.label, ())
            by_run[run.label] = RunSummary(run.label, home, clean, outcomes)
    return Summary(tuple(runs), groups, by_run)


def _groups(runs: Sequence[Run]) -> Iterator[Group]:
    """The fullest first; a distance that was only ranked clean has a group without curves."""
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
    for panel in sorted(attacked, key=lambda panel: -sum(map(len, attacked[panel].values()))):
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


def _group(panel: Panel, clean: dict[str, Point], curves: Sequence[Curve]) -> Group:
    points = [*clean.values(), *(point for curve in curves for point in curve.points)]
    found = {protocol for point in points for one in point.results for protocol in one.scores}
    protocols = (*(p for p in PROTOCOLS if p in found), *sorted(found - set(PROTOCOLS)))
    often = Counter(point.eps for curve in curves for point in curve.points)
    usual = 5.0 if panel.norm == "linf" else float("inf")
    eps = max(often, key=lambda e: (often[e], -abs(e - usual), e), default=None)
    outcomes = {}
    for label in dict.fromkeys(curve.run for curve in curves):
        mine = [curve for curve in curves if curve.run == label]
        outcomes[label] = _outcomes(mine, eps or 0.0, next(iter(protocols), ""))
    return Group(panel, clean, tuple(curves), protocols, eps, outcomes)


def _outcomes(curves: Sequence[Curve], wanted: float, protocol: str) -> tuple[Outcome, ...]:
    """The attacks of a run at the budget nearest to the one that is wanted, the strongest first."""
    budgets = {point.eps for curve in curves for point in curve.points}
    eps = min(budgets, key=lambda budget: (abs(budget - wanted), budget))
    points = [(curve, curve.at(eps)) for curve in curves]
    spreads = [(curve, point, point.spread(protocol)) for curve, point in points if point]
    known = [Outcome(curve, point, spread) for curve, point, spread in spreads if spread]
    return tuple(sorted(known, key=lambda outcome: outcome.remaining))
