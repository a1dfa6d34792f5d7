"""Which results may be compared, and the curves they make: attack by attack, over seeds."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from jaxreid.budgets import exact
from jaxreid.constants import Distance, Norm, Side
from jaxreid.records import Condition, Result, Spread
from jaxreid.report.style import attack_style

__all__ = ["Curve", "Panel", "Point", "curves_of"]

# Steps, step size and restarts: what may differ between two runs of one attack at one budget.
_Way = tuple[int, float, int]


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

    norm: Norm
    side: Side
    guides: Side
    distance: Distance
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
        distance = "Euclidean" if self.distance == "euclidean" else self.distance
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
        self, protocol: str, metric: str = "mean_average_precision", *, reranked: bool = False
    ) -> Spread | None:
        """Takes a metric over seeds.

        Args:
            protocol: "market1501" or "torchreid".
            metric: a field of `Score`.
            reranked: whether to take the scores after re-ranking.

        Returns:
            The metric in [0, 1], or None where no result has it.
        """
        scores = [(one.reranked or {}) if reranked else one.scores for one in self.results]
        values = [float(getattr(one[protocol], metric)) for one in scores if protocol in one]
        return Spread.of(values) if values else None


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

    @property
    def name(self) -> str:
        """Short name of the attack, and the variant if there is one: for a legend."""
        short = attack_style(self.attack).short
        return f"{short} ({self.variant})" if self.variant else short

    def at(self, eps: float) -> Point | None:
        """Finds a budget.

        Args:
            eps: in the unit of the panel's norm.

        Returns:
            The point, or None.
        """
        return next((point for point in self.points if point.eps == eps), None)


def curves_of(label: str, results: Sequence[Result]) -> list[Curve]:
    """Sorts the results of a run in one panel into curves; a budget of 0 is no attack.

    Args:
        label: of the run.
        results: attacked ones of one panel.

    Returns:
        Attacks in the order in which they came; one that was run in several ways at one budget has
        a curve for each.
    """
    by_attack: dict[tuple[str, bool], list[Result]] = defaultdict(list)
    for result in results:
        condition = result.condition
        if condition.eps > 0:
            by_attack[condition.attack, condition.as_paper].append(result)
    curves = []
    for (attack, as_paper), of_attack in by_attack.items():
        for way, few in _variants(of_attack).items():
            variant = ", ".join(part for part in ("as the paper" * as_paper, way) if part)
            curves.append(Curve(label, attack, variant, _points(few)))
    return curves


def _way(condition: Condition) -> _Way:
    return condition.steps, condition.step_size, condition.restarts


def _variants(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Splits an attack that was run in several ways at one budget; steps may depend on it."""
    ways_at: dict[float, set[_Way]] = defaultdict(set)
    for result in results:
        ways_at[result.condition.eps].add(_way(result.condition))
    if max(map(len, ways_at.values())) == 1:
        return {"": list(results)}
    split: dict[_Way, list[Result]] = defaultdict(list)
    for result in results:
        split[_way(result.condition)].append(result)
    names = [_describe_way(way, lambda number: f"{number:g}") for way in split]
    if len(set(names)) < len(names):
        # Step sizes that differ in the seventh digit are two ways as well.
        names = [_describe_way(way, exact) for way in split]
    return dict(zip(names, split.values(), strict=True))


def _describe_way(way: _Way, write: Callable[[float], str]) -> str:
    steps, step_size, restarts = way
    again = f", {restarts} restarts" if restarts > 1 else ""
    return f"{steps} steps of {write(step_size)}{again}"


def _points(results: Sequence[Result]) -> tuple[Point, ...]:
    at: dict[float, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.condition.seed):
        at[result.condition.eps].append(result)
    return tuple(Point(eps, tuple(at[eps])) for eps in sorted(at))
