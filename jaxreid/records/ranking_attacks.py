"""What ranking attacks came to, the ten terms that are made of it, and their mean, the ERS."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from jaxreid.errors import InputError
from jaxreid.records.kept import InRunFolder
from jaxreid.records.parsing import Within

__all__ = [
    "ERS_FILE",
    "ERS_SCHEMA",
    "ERS_TERMS",
    "Climb",
    "ErsTerm",
    "Measured",
    "RankingAttack",
    "RankingAttacks",
    "ers",
]

ERS_FILE = "ers.json"
"""Name of the file in a run folder."""
ERS_SCHEMA = 1
"""Version of the file; one of another version is refused."""

_MOST = 1e12
_Count = Annotated[int, Within(0, _MOST)]
_Amount = Annotated[float, Within(0, _MOST)]
# Shares lie in [0, 1], cosines in [-1, 1] and distances of unit vectors in [0, 2]; all but for
# rounding.
_Mean = Annotated[float, Within(-1.01, 2.01)]


@dataclass(frozen=True)
class Climb:
    """How the attacks climb; the defaults are those of the published tables.

    Attributes:
        eps: budget in L-infinity, in 1/255.
        step_size: length of a step, in 1/255.
        steps: number of steps.
        random_start: whether they start at random in the ball, and not at the clean image.
        best_iterate: whether each number is of the image met for which it is worst, and not of the
            last one.
        restarts: starts, all but the first of them random, of which the worst counts for each
            number.
        seed: of the random numbers.
    """

    eps: _Amount = 8.0
    step_size: _Amount = 3.0
    steps: _Count = 32
    random_start: bool = False
    best_iterate: bool = False
    restarts: _Count = 1
    seed: _Count = 0


@dataclass(frozen=True)
class Measured:
    """A mean over all trials, before an attack and after it.

    Attributes:
        before: of the clean images.
        after: of the attacked ones.
    """

    before: _Mean
    after: _Mean


@dataclass(frozen=True)
class RankingAttack:
    """One attack on T trials.

    Attributes:
        attack: its name.
        climb: how it went about it.
        trials: how many images were attacked.
        measured: what is measured -> Measured.
    """

    attack: str
    climb: Climb
    trials: _Count
    measured: dict[str, Measured]


@dataclass(frozen=True)
class RankingAttacks(InRunFolder):
    """All ranking attacks of a run, whose settings `Provenance` has.

    Attributes:
        attacks: no two of one name and one `Climb`.
        schema: of the file.
    """

    FILE = ERS_FILE
    SCHEMA = ERS_SCHEMA
    AGAIN = "remove it, and `jaxreid ers` attacks anew"

    attacks: tuple[RankingAttack, ...]
    schema: int = ERS_SCHEMA

    def _check(self) -> None:
        """Refuses what the types of the fields do not."""
        keys = [(attack.attack, attack.climb) for attack in self.attacks]
        if len(set(keys)) < len(keys):
            raise InputError("attacks holds one attack twice")
        for number, attack in enumerate(self.attacks):
            if not attack.trials:
                raise InputError(f"attacks[{number}].trials is 0")
            for term in ERS_TERMS:
                if term.attack == attack.attack and term.measure not in attack.measured:
                    raise InputError(f"attacks[{number}].measured lacks {term.measure}")


class ErsTerm(NamedTuple):
    """One of the ten numbers whose mean is the ERS.

    Attributes:
        title: as tables print it.
        attack: whose measure it is made of.
        measure: which one.
        of: the measure -> 0, nothing is left, to 100, nothing was achieved.
    """

    title: str
    attack: str
    measure: str
    of: Callable[[float], float]


ERS_TERMS = (
    ErsTerm("CA+", "ca+", "rank", lambda share: 200 * share),
    ErsTerm("CA-", "ca-", "rank", lambda share: 100 - 100 * share),
    ErsTerm("QA+", "qa+", "rank", lambda share: 200 * share),
    ErsTerm("QA-", "qa-", "rank", lambda share: 100 - 100 * share),
    ErsTerm("TMA", "tma", "cosine", lambda cosine: 100 - 100 * cosine),
    ErsTerm("ES:D", "es", "shift", lambda distance: 100 - 50 * distance),
    ErsTerm("ES:R", "es", "rank1", lambda share: 100 * share),
    ErsTerm("LTM", "ltm", "rank1", lambda share: 100 * share),
    ErsTerm("GTM", "gtm", "rank1", lambda share: 100 * share),
    ErsTerm("GTT", "gtt", "retained", lambda share: 100 * share),
)
"""The terms of the empirical robustness score (ERS) of Zhou et al., "Adversarial Attack and Defense
in Deep Ranking", https://arxiv.org/abs/2106.03614, in the order of its tables."""


def ers(attacks: Sequence[RankingAttack], *, attacked: bool = True) -> float | None:
    """The empirical robustness score, ``mean_t term_t`` over the ten `ERS_TERMS`.

    Args:
        attacks: of one `Climb`, in any order; others than those of the terms do not matter.
        attacked: whether of the attacked images, or of the clean ones, which no attack gets above.

    Returns:
        A number from 0 to 100, or somewhat above where a random candidate starts behind the middle
        or a cosine is negative; None where an attack is missing.

    Raises:
        InputError: the attacks climbed differently, or one of them is there twice.
    """
    named = {attack.attack: attack for attack in attacks}
    if len(named) < len(attacks) or len({attack.climb for attack in attacks}) > 1:
        raise InputError("attacks must be of one climb, each of them once")
    if not {term.attack for term in ERS_TERMS} <= set(named):
        return None
    found = [(term, named[term.attack].measured[term.measure]) for term in ERS_TERMS]
    return statistics.fmean(term.of(one.after if attacked else one.before) for term, one in found)
