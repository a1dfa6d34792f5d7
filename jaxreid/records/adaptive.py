"""What attackers leave who know what stands behind a network, and those who do not."""

from dataclasses import dataclass
from typing import Annotated

from jaxreid.constants import MAIN_PROTOCOL, Distance
from jaxreid.errors import InputError
from jaxreid.records.kept import InRunFolder
from jaxreid.records.parsing import Within
from jaxreid.records.scores import Score

__all__ = [
    "ADAPTIVE_FILE",
    "ADAPTIVE_SCHEMA",
    "AdaptiveAttack",
    "AdaptiveAttacks",
    "AdaptiveClimb",
    "Alarms",
    "Detected",
    "Left",
    "Reranked",
]

ADAPTIVE_FILE = "adaptive.json"
"""Name of the file in a run folder."""
ADAPTIVE_SCHEMA = 1
"""Version of the file; one of another version is refused."""

_MOST = 1e12
_Count = Annotated[int, Within(0, _MOST)]
_Amount = Annotated[float, Within(0, _MOST)]
_Share = Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class Reranked:
    """k-reciprocal re-ranking stands behind the network.

    Attributes:
        candidates: items, the nearest to the clean query, among which who knows of it climbs.
    """

    candidates: _Count = 200


@dataclass(frozen=True)
class Detected:
    """A detector stands behind the network: an alarm where a defense moves the feature far.

    Attributes:
        defense: as `jaxreid.evaluation.through` has it; it draws nothing.
        false_alarms: share of clean gallery images at which there is an alarm, at most.
    """

    defense: str
    false_alarms: _Share = 0.05


@dataclass(frozen=True)
class AdaptiveClimb:
    """What is attacked, and how both attackers climb.

    Attributes:
        behind: what stands behind the network.
        eps: budget in L-infinity, in 1/255.
        steps: number of steps.
        seed: of the random starts.
        distance: by which features are compared.
    """

    behind: Reranked | Detected
    eps: _Amount = 5.0
    steps: _Count = 50
    seed: _Count = 0
    distance: Distance = "euclidean"


@dataclass(frozen=True)
class Alarms:
    """What a detector makes of attacked queries, or of clean ones.

    Attributes:
        raised: share of the queries at which there is an alarm.
        unnoticed: share of the queries that are no longer found first, without an alarm.
        mean_average_precision: protocol "market1501", where a query with an alarm counts as if it
            had not been attacked.
    """

    raised: _Share
    unnoticed: _Share
    mean_average_precision: _Share


@dataclass(frozen=True)
class Left:
    """What is left of a ranking.

    Attributes:
        scores: protocol -> Score, as the network ranks.
        reranked: the same after re-ranking; None where none stands there.
        alarms: of the detector; None where none stands there.
    """

    scores: dict[str, Score]
    reranked: dict[str, Score] | None = None
    alarms: Alarms | None = None


@dataclass(frozen=True)
class AdaptiveAttack:
    """Both attackers on Q queries.

    Attributes:
        climb: what they attack, and how.
        queries: how many were attacked: those that have a match.
        threshold: of the detector, in the unit of the embedding; None where none stands there.
        clean: what the ranking is without an attack.
        oblivious: what is left by who attacks the distances alone.
        adaptive: what is left by who knows what stands behind the network.
    """

    climb: AdaptiveClimb
    queries: _Count
    threshold: _Amount | None
    clean: Left
    oblivious: Left
    adaptive: Left


@dataclass(frozen=True)
class AdaptiveAttacks(InRunFolder):
    """All of them of a run, whose other settings `Provenance` has.

    Attributes:
        attacks: no two of one `AdaptiveClimb`.
        schema: of the file.
    """

    FILE = ADAPTIVE_FILE
    SCHEMA = ADAPTIVE_SCHEMA
    AGAIN = "remove it, and `jaxreid adaptive` attacks anew"

    attacks: tuple[AdaptiveAttack, ...]
    schema: int = ADAPTIVE_SCHEMA

    def _check(self) -> None:
        """Refuses what the types of the fields do not."""
        climbs = [attack.climb for attack in self.attacks]
        if len(set(climbs)) < len(climbs):
            raise InputError("attacks holds one climb twice")
        for number, attack in enumerate(self.attacks):
            detected = isinstance(attack.climb.behind, Detected)
            for name in ("clean", "oblivious", "adaptive"):
                left, field = getattr(attack, name), f"attacks[{number}].{name}"
                if (left.alarms is None) == detected or (left.reranked is None) != detected:
                    raise InputError(f"{field} is not of what stands behind the network")
                for scores in filter(None, (left.scores, left.reranked)):
                    if MAIN_PROTOCOL not in scores:
                        raise InputError(f"{field} has no protocol {MAIN_PROTOCOL}")
            if (attack.threshold is None) == detected:
                raise InputError(f"attacks[{number}].threshold is not of what stands there")
