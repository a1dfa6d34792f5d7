"""The ensembles: which attacks run, in which order, from where, and on whose account.

A name stands for its table for good: figures of one name compare, and a better table gets a new
number in its name.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from jaxreid.constants import STEPS, Knowledge
from jaxreid.records import Condition

__all__ = ["MemberSpec", "Metric", "Stage", "amount_of_work", "members_of", "reporting"]

# Passes of one image that count as one image in the progress: what a published attack takes.
_UNIT = 15

Metric = Literal["precision", "rank", "all"]


class Stage(NamedTuple):
    """A part of an ascent, which sets out from the best image of those before it.

    Attributes:
        objective: what is climbed: a key of `jaxreid.evaluation.worst.objectives.OBJECTIVES` or of
            its ALONE.
        steps: of the ascent.
        temperature: of a smooth objective, in the unit of the spread of the clean image's
            distances.
    """

    objective: str
    steps: int
    temperature: float = 0.1


class MemberSpec(NamedTuple):
    """One attack of an ensemble.

    Attributes:
        name: in tables and files; random numbers are drawn by it.
        kind: "noise" draws without a gradient, "published" is a row of `jaxreid.attacks.ATTACKS`
            as published, "ascent" climbs adaptively, "search" goes by the ranking alone.
        metric: what it is to spoil: "precision" runs on images whose average precision can still
            fall, "rank" on those whose first item is still a match, "all" on all that can lose
            anything.
        stages: of an ascent.
        draws: of noise or of a search.
        start: at random on the surface of the ball, or where the best image so far is.
        person: of a targeted objective, its place among the nearest wrong people, from 0; -1 for
            the furthest.
    """

    name: str
    kind: Literal["noise", "published", "ascent", "search"] = "ascent"
    metric: Metric = "precision"
    stages: tuple[Stage, ...] = ()
    draws: int = 0
    start: Literal["random", "best"] = "random"
    person: int = 0

    @property
    def steps(self) -> int:
        """Of the ascent."""
        return sum(stage.steps for stage in self.stages)

    @property
    def passes(self) -> int:
        """Passes of one image through the model."""
        own = {"noise": self.draws, "published": STEPS, "search": self.draws}
        return own.get(self.kind, self.steps + 1)

    @property
    def work(self) -> int:
        """What it counts in the progress; those for survivors find few, as a rule."""
        return max(1, round(self.passes / (10 * _UNIT if self.metric == "rank" else _UNIT)))


def _published(*names: str) -> tuple[MemberSpec, ...]:
    return tuple(MemberSpec(name, "published", metric="all") for name in names)


def _annealed(objective: str, steps: int) -> tuple[Stage, ...]:
    """From coarse to fine: a large temperature feels every wrong image, a small one the ranking."""
    return tuple(Stage(objective, steps, temperature) for temperature in (0.3, 0.1, 0.03))


def _targeted(count: int, steps: int) -> tuple[MemberSpec, ...]:
    """Towards the nearest wrong people, one by one, and the furthest."""
    places = [(f"person {place + 1}", place) for place in range(count)] + [("furthest person", -1)]
    stages = (Stage("targeted_margin", steps),)
    return tuple(
        MemberSpec(name, metric="rank", stages=stages, person=place) for name, place in places
    )


def _alone(name: str, objective: str, steps: int = 100) -> MemberSpec:
    return MemberSpec(name, metric="all", stages=(Stage(objective, steps),))


# The annealed ascents do the work, and a second pair of them gains 0.1 points of mAP at most. What
# follows them guards against models on which they are misled, and is short.
_STANDARD = (
    MemberSpec("noise draws", "noise", metric="all", draws=16),
    *_published("sma", "odfa", "fna", "nna"),
    MemberSpec("annealed ap", stages=_annealed("smooth_ap", 25), start="best"),
    MemberSpec("soft margin", metric="rank", stages=_annealed("soft_margin", 20), start="best"),
    MemberSpec("annealed ap 2", stages=_annealed("smooth_ap", 25)),
    MemberSpec("annealed ap 3", stages=_annealed("smooth_ap", 25), start="best"),
    MemberSpec("log intruders", stages=(Stage("log_intruders", 30),), start="best"),
    MemberSpec("opposite means", stages=(Stage("opposite_means", 25),)),
    MemberSpec("margin", metric="rank", stages=(Stage("margin", 25),), start="best"),
    *_targeted(9, 20),
    MemberSpec("random search", "search", draws=100, start="best"),
    MemberSpec("random search by rank", "search", metric="rank", draws=500, start="best"),
)

# Where what is climbed is not what is reported, different attacks find different images.
_DIVERSE = (
    MemberSpec("coarse log intruders", stages=(Stage("log_intruders", 30, 0.3),)),
    MemberSpec("nearest others", stages=(Stage("nearest_others", 30),)),
)

_QUICK = (
    MemberSpec("annealed ap", stages=_annealed("smooth_ap", 10)),
    MemberSpec(
        "soft margin",
        metric="rank",
        stages=(Stage("soft_margin", 8, 0.3), Stage("soft_margin", 8, 0.05)),
        start="best",
    ),
)

# These need no list: each is climbed for itself, and the worst of them is what is reported.
_ALONE = (
    _alone("adaptive sma", "away"),
    _alone("adaptive odfa", "opposite"),
    _alone("adaptive sma 2", "away"),
    _alone("adaptive odfa 2", "opposite"),
)
_FIRST = (_STANDARD[0]._replace(draws=1), *_published("sma", "odfa"))
_QUICK_ALONE = (_alone("adaptive sma", "away", 20),)

_TABLES: dict[tuple[str, Knowledge], tuple[MemberSpec, ...]] = {
    ("worst-1", "gallery"): _STANDARD,
    # Who has nobody else's image of the person is left with what needs none.
    ("worst-1", "guides"): (*_STANDARD, *_DIVERSE, *_ALONE[:2]),
    ("worst-1", "self"): (*_FIRST, *_ALONE),
    ("worst-1-quick", "gallery"): _QUICK,
    ("worst-1-quick", "guides"): (*_QUICK, *_QUICK_ALONE),
    ("worst-1-quick", "self"): (*_FIRST, *_QUICK_ALONE),
}


# To be found as another person: what counts is whose image comes first, then all of that person's.
_TO_MARGIN = (*_annealed("soft_margin", 20), Stage("margin", 20))

_POSING = (
    MemberSpec("noise draws", "noise", metric="all", draws=16),
    *_published("fna_without_push", "fna"),
    MemberSpec("soft margin", metric="rank", stages=_TO_MARGIN, start="best"),
    MemberSpec("nearest image", metric="rank", stages=(Stage("nearest_match", 50),)),
    MemberSpec("opposite means", metric="rank", stages=(Stage("opposite_means", 25), *_TO_MARGIN)),
    MemberSpec("margin", metric="rank", stages=(Stage("margin", 50),), start="best"),
    MemberSpec("soft margin 2", metric="rank", stages=_TO_MARGIN),
    MemberSpec("annealed ap", stages=_annealed("smooth_ap", 25), start="best"),
    MemberSpec("random search", "search", metric="rank", draws=100, start="best"),
)

_POSING_QUICK = (
    MemberSpec("noise draws", "noise", metric="all", draws=2),
    *_published("fna_without_push"),
    MemberSpec(
        "soft margin",
        metric="rank",
        stages=(*_annealed("soft_margin", 8), Stage("margin", 8)),
        start="best",
    ),
)


def members_of(condition: Condition) -> tuple[MemberSpec, ...]:
    """The attacks of an ensemble, in order.

    Args:
        condition: canonical; its attack is a key of `jaxreid.constants.ENSEMBLES`.

    Returns:
        Specs with names of their own.
    """
    if condition.goal == "impersonate":
        return {"worst-1": _POSING, "worst-1-quick": _POSING_QUICK}[condition.attack]
    return _TABLES[condition.attack, condition.knowledge]


def amount_of_work(condition: Condition, images: int) -> int:
    """About how many images of a published attack's cost an ensemble takes.

    Args:
        condition: canonical, of an ensemble.
        images: attacked.

    Returns:
        What the progress of `worst_case` counts up to.
    """
    return images * sum(one.work for one in members_of(condition))


def reporting(
    progress: Callable[[int], None] | None, specs: tuple[MemberSpec, ...], images: int
) -> Callable[[int, int, int], None]:
    """Reports members that are done, and the images of the one that runs, as work done."""

    def report(number: int, done: int, of: int) -> None:
        if progress is not None:
            before = sum(one.work for one in specs[:number])
            share = done * specs[number].work / max(of, 1) if number < len(specs) else 0
            progress(round(images * (before + share)))

    return report
