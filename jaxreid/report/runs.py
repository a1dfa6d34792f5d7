"""The runs of a report, each under its own label, and their results as comparable curves."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from jaxreid.budgets import exact, named_budget
from jaxreid.constants import ENSEMBLES, Distance, Goal, Norm, Side
from jaxreid.errors import InputError, reason_of
from jaxreid.records import Card, Condition, Result, RunFolder, Spread
from jaxreid.report.style import AttackStyle, label_of, style_of

__all__ = ["Curve", "Panel", "Point", "Run", "curves_of", "open_runs"]

# Steps, step size and restarts: what may differ between two runs of one attack at one budget.
_Way = tuple[int, float, int]


@dataclass(frozen=True, eq=False)
class Run:
    """A run that has results.

    Attributes:
        label: names it in the report; no other run has the same.
        folder: where its arrays are.
        results: all of them, in the order in which they came.
        cut_off: lines of its results that an interruption cut off, and that are not among them.
        card: what an audit of its model found, where there was one.
    """

    label: str
    folder: RunFolder
    results: tuple[Result, ...]
    cut_off: int = 0
    card: Card | None = None

    @property
    def note(self) -> str:
        """A sentence on what is left out, or ""."""
        if not self.cut_off:
            return ""
        lines = "1 line was" if self.cut_off == 1 else f"{self.cut_off} lines were"
        return (
            f"{lines} cut off by an interruption in results.jsonl of {self.label}, and skipped: "
            "`jaxreid evaluate` does what is missing anew."
        )


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Opens runs; their titles become labels, with the folder's name where titles are equal.

    Args:
        paths: folders that `jaxreid evaluate` wrote; one that is named twice is opened once.

    Returns:
        At least one run, in the order of `paths`.

    Raises:
        InputError: no path is given, or a folder holds no run, no result, another schema or a
            damaged card.
    """
    try:
        unique = list({path.resolve(): path for path in paths}.values())
    except (OSError, RuntimeError) as error:
        raise InputError(f"a run folder cannot be read: {error}") from None
    if not unique:
        raise InputError("a report needs at least one run folder")
    opened = [_opened(path) for path in unique]
    labels = _labels([(folder.provenance.title, folder.path) for folder, _ in opened])
    return [
        Run(label, folder, tuple(results), folder.cut_off(), Card.found(folder.path))
        for label, (folder, results) in zip(labels, opened, strict=True)
    ]


def _opened(path: Path) -> tuple[RunFolder, list[Result]]:
    try:
        folder = RunFolder.open(path)
        results = folder.results()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None
    if not results:
        raise InputError(
            f"{path} has no results yet; run its `jaxreid evaluate` until the first one"
        )
    return folder, results


def _labels(named: Sequence[tuple[str, Path]]) -> list[str]:
    """Title; or title and folder; or both and a number: the first that tells the runs apart."""
    folders = [label_of(path.resolve().name) for _, path in named]
    titles = [label_of(title) or folder for (title, _), folder in zip(named, folders, strict=True)]
    often = Counter(titles)
    labels: list[str] = []
    for title, folder in zip(titles, folders, strict=True):
        label = title if often[title] == 1 else f"{title} ({folder})"
        number = 2
        while label in labels:
            label = f"{title} ({folder}, {number})"
            number += 1
        labels.append(label)
    return labels


@dataclass(frozen=True)
class Panel:
    """What results must share to be compared: the threat and how images are ranked."""

    norm: Norm
    side: Side
    guides: Side
    distance: Distance
    eight_bit: bool
    goal: Goal = "evade"
    attacked_gallery: bool = False

    @classmethod
    def of(cls, condition: Condition) -> "Panel":
        """The panel of a condition, attacked or clean."""
        return cls(**{field.name: getattr(condition, field.name) for field in fields(cls)})

    @property
    def title(self) -> str:
        """The panel in a heading."""
        images = "queries" if self.side == "query" else "gallery images"
        source = "queries" if self.guides == "query" else "gallery"
        norm = "L∞" if self.norm == "linf" else "L2"
        rounded = ", rounded to 8 bits" if self.eight_bit else ""
        rounded += ", in a gallery attacked before" if self.attacked_gallery else ""
        distance = "Euclidean" if self.distance == "euclidean" else self.distance
        if self.goal == "impersonate":
            return f"{norm} impersonation by {images}, {distance} distance{rounded}"
        return f"{norm} attacks on {images}, guides from {source}, {distance} distance{rounded}"

    def budget(self, eps: float) -> str:
        """A budget, in 1/255 for linf and a length in pixel range for l2, such as "5/255"."""
        return named_budget(eps, self.norm)


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
        """A field of `Score` over seeds, in [0, 1]; None where no result has the protocol."""
        scores = [(one.reranked or {}) if reranked else one.scores for one in self.results]
        values = [float(getattr(one[protocol], metric)) for one in scores if protocol in one]
        return Spread.of(values) if values else None


@dataclass(frozen=True)
class Curve:
    """One attack of one run, over budgets.

    Attributes:
        run: label of the run.
        attack: name in `jaxreid.attacks.ATTACKS` or of an ensemble.
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
        return f"{self.style.short} ({self.variant})" if self.variant else self.style.short

    @property
    def title(self) -> str:
        """Full name of the attack, and the variant if there is one."""
        return f"{self.style.title} ({self.variant})" if self.variant else self.style.title

    @property
    def condition(self) -> Condition:
        """What was done at the smallest budget; budget, steps and seed differ at the others."""
        return self.points[0].results[0].condition

    @property
    def style(self) -> AttackStyle:
        """How the attack looks."""
        return style_of(self.condition)

    @property
    def kind(self) -> tuple[str, str, str]:
        """What curves of several runs have in common that show the same attack."""
        return self.attack, self.condition.knowledge, self.variant

    @property
    def is_worst_case(self) -> bool:
        """Whether it may be called so: every attack of an ensemble, which knew the gallery."""
        done = self.condition
        return done.is_ensemble and done.knowledge == "gallery" and done.goal == "evade"

    @property
    def precedence(self) -> int:
        """The worst case stands before other attacks, and the one in full before a quick one."""
        return list(ENSEMBLES).index(self.attack) if self.is_worst_case else len(ENSEMBLES)

    def at(self, eps: float) -> Point | None:
        """The point at a budget in the unit of the panel's norm, or None."""
        return next((point for point in self.points if point.eps == eps), None)


def curves_of(label: str, results: Sequence[Result]) -> list[Curve]:
    """Sorts the attacked results of a run in one panel into curves; a budget of 0 is no attack.

    The worst case comes first and attacks stay in their order; one that was run in several ways at
    one budget has several curves.
    """
    by_attack: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        done = result.condition
        if done.eps > 0:
            by_attack[done.attack, done.knowledge, _named_variant(done)].append(result)
    curves = []
    for (attack, _, named), of_attack in by_attack.items():
        for way, few in _variants(of_attack).items():
            variant = ", ".join(part for part in (named, way) if part)
            curves.append(Curve(label, attack, variant, _points(few)))
    return sorted(curves, key=lambda curve: curve.precedence)


def _named_variant(condition: Condition) -> str:
    """What tells results of one attack apart other than the numbers of `_way`."""
    aim = condition.target
    aimed = (f"person {aim}" if aim.isdecimal() else f"{aim} person") if aim else ""
    boosted = f"by {condition.boost}" if condition.boost else ""
    elsewhere = f"from {condition.surrogate}" if condition.surrogate else ""
    parts = ("as the paper" * condition.as_paper, aimed, boosted, elsewhere)
    return ", ".join(part for part in parts if part)


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
