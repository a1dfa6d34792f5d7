"""The ensembles: which attacks run, in which order, from where, and on whose account.

A name stands for its table for good: figures of one name compare, and a better table gets a new
number in its name.
"""

from typing import Literal, NamedTuple

from jaxreid.constants import STEPS, Knowledge
from jaxreid.records import Condition

__all__ = ["Round", "rounds_of"]


class Round(NamedTuple):
    """One attack of an ensemble.

    Attributes:
        name: in tables and files; random numbers are drawn by it.
        kind: "noise" draws without a gradient, "published" is a row of `jaxreid.attacks.ATTACKS`
            as published, "ascent" climbs adaptively, "search" goes by the ranking alone.
        objective: what is climbed, see `jaxreid.evaluation.worst.objectives`.
        goal: what it is for: "precision" runs on images whose average precision can still fall,
            "rank" on those whose first item is still a match, "all" on all that can lose anything.
        steps: of the ascent or the search, or draws of noise; 0 for as many as published.
        start: at random on the surface of the ball, or where the best image so far is.
        temperatures: of a smooth objective, in the unit of the spread of the clean image's
            distances; the ascent is cut into as many stages.
        person: of a targeted objective, its place among the nearest wrong people, from 0; -1 for
            the furthest.
    """

    name: str
    kind: Literal["noise", "published", "ascent", "search"] = "ascent"
    objective: str = ""
    goal: Literal["precision", "rank", "all"] = "precision"
    steps: int = 100
    start: Literal["random", "best"] = "random"
    temperatures: tuple[float, ...] = (0.1,)
    person: int = 0

    @property
    def passes(self) -> int:
        """Passes of one image through the model."""
        return STEPS if self.kind == "published" else self.steps + (self.kind != "noise")


def _published(*names: str) -> tuple[Round, ...]:
    return tuple(Round(name, "published", goal="all", steps=0) for name in names)


def _targeted(count: int, steps: int) -> tuple[Round, ...]:
    """Towards the nearest wrong people, one by one, and the furthest."""
    places = [(f"person {place + 1}", place) for place in range(count)] + [("furthest person", -1)]
    return tuple(
        Round(name, objective="targeted_margin", goal="rank", steps=steps, person=place)
        for name, place in places
    )


_NOISE = Round("noise draws", "noise", goal="all", steps=16)

# From coarse to fine: a large temperature feels every wrong image, a small one is the ranking.
_ANNEALED = (0.3, 0.1, 0.03)

_STANDARD = (
    _NOISE,
    *_published("sma", "odfa", "fna", "nna"),
    Round("annealed ap", objective="smooth_ap", steps=75, temperatures=_ANNEALED, start="best"),
    Round(
        "soft margin",
        objective="soft_margin",
        goal="rank",
        steps=50,
        temperatures=(0.3, 0.05),
        start="best",
    ),
    Round("annealed ap 2", objective="smooth_ap", steps=75, temperatures=_ANNEALED),
    Round("log intruders", objective="log_intruders", steps=75, temperatures=_ANNEALED),
    Round("margin", objective="margin", goal="rank", start="best"),
    Round("opposite means", objective="opposite_means"),
    *_targeted(9, 50),
    Round("random search", "search", steps=500, start="best"),
)

_QUICK = (
    _NOISE._replace(steps=2),
    Round("annealed ap", objective="smooth_ap", steps=20, temperatures=_ANNEALED, start="best"),
    Round(
        "soft margin",
        objective="soft_margin",
        goal="rank",
        steps=10,
        temperatures=(0.3, 0.05),
        start="best",
    ),
)

# Without any list there is nothing to decide by: each is climbed for itself, and all are judged.
_ALONE = (
    _NOISE._replace(steps=1),
    *_published("sma", "odfa"),
    Round("adaptive sma", objective="away", goal="all"),
    Round("adaptive sma 2", objective="away", goal="all"),
    Round("adaptive odfa", objective="opposite", goal="all"),
    Round("adaptive odfa 2", objective="opposite", goal="all"),
)

_TABLES: dict[tuple[str, Knowledge], tuple[Round, ...]] = {
    ("worst-1", "gallery"): _STANDARD,
    ("worst-1", "guides"): _STANDARD,
    ("worst-1", "self"): _ALONE,
    ("worst-1-quick", "gallery"): _QUICK,
    ("worst-1-quick", "guides"): _QUICK,
    ("worst-1-quick", "self"): tuple(
        one._replace(steps=20) if one.kind == "ascent" else one for one in _ALONE[:4]
    ),
}


def rounds_of(condition: Condition) -> tuple[Round, ...]:
    """The attacks of an ensemble, in order.

    Args:
        condition: canonical; its attack is a key of `jaxreid.constants.ENSEMBLES`.

    Returns:
        Rounds with names of their own.
    """
    return _TABLES[condition.attack, condition.knowledge]
