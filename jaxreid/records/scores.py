"""The numbers of a result: retrieval, a worst case, an impersonation, a verification."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from jaxreid.errors import InputError
from jaxreid.records.parsing import Within

__all__ = ["Impersonation", "Member", "Score", "Spread", "Verification", "WorstCase", "WrongCamera"]

_MOST = 1e12
_Share = Annotated[float, Within(0, 1)]
_Count = Annotated[int, Within(0, _MOST)]
_Amount = Annotated[float, Within(0, _MOST)]


@dataclass(frozen=True)
class Score:
    """Retrieval in one protocol; every metric in [0, 1].

    Attributes:
        mean_average_precision: mAP.
        rank1: share of queries whose first item is a match.
        rank5: with a match among the first five.
        rank10: with a match among the first ten.
        mean_inverse_negative_penalty: mINP.
    """

    mean_average_precision: _Share
    rank1: _Share
    rank5: _Share
    rank10: _Share
    mean_inverse_negative_penalty: _Share


@dataclass(frozen=True)
class Member:
    """One attack of an ensemble, in the order in which they ran.

    Of an impersonation everything is about the person who is sought, whom the attack brings up: the
    best images are the ones of largest average precision and of the earliest first match, and the
    metrics are means over the attacked images.

    Attributes:
        name: of the attack.
        images: it was run on; the others had nothing left to lose.
        won: images of which it made the one that is kept, the one of least average precision.
        won_first: images of which it made the one whose first match stands furthest down.
        mean_average_precision: in [0, 1], worst case after this member, protocol "market1501".
        rank1: in [0, 1], robust rank-1 after this member.
        passes: forward and backward passes of one image, summed over its images.
        seconds: it took.
    """

    name: str
    images: _Count
    won: _Count
    won_first: _Count
    mean_average_precision: _Share
    rank1: _Share
    passes: _Count
    seconds: _Amount


@dataclass(frozen=True)
class WorstCase:
    """How the scores of an ensemble came about; they are the worst of every image that was met.

    Of an impersonation the scores are those of one image, which finds the sought person first: they
    say who is still found in it. `at_floor` then counts the images that were left alone because all
    of that person's images came first, and `survivors` those in which another image comes first.

    Attributes:
        members: in the order in which they ran.
        one_image: scores by protocol of the one image per query that is kept, the one of least
            average precision: the worst mAP and the worst rank-1 may need two. Who knows guides
            alone chooses it by his ranking of these.
        eight_bit: scores by protocol of the same worst case, images rounded to 8 bits first.
        floor: mAP by protocol where all matches come last: nothing can be lower.
        at_floor: images whose search had reached that floor, and were left alone from there on.
        survivors: images whose search still finds a match first.
    """

    members: tuple[Member, ...]
    one_image: dict[str, Score]
    eight_bit: dict[str, Score]
    floor: dict[str, _Share]
    at_floor: _Count = 0
    survivors: _Count = 0


@dataclass(frozen=True)
class Impersonation:
    """How often an attacked query is found as the person it aims at.

    Attributes:
        images: queries that aimed at somebody.
        first_before: in [0, 1], share whose clean search has an image of the target first.
        first: the same after the attack.
        first5: share with the target among the first five after the attack.
        first10: among the first ten.
        median_rank_before: of the target's first image in the clean search, 1-based.
        median_rank: the same after the attack.
    """

    images: _Count
    first_before: _Share
    first: _Share
    first5: _Share
    first10: _Share
    median_rank_before: _Amount
    median_rank: _Amount


@dataclass(frozen=True)
class Verification:
    """Same person or not, by a threshold on the distance of two images.

    Attributes:
        same: pairs of the same person.
        different: pairs of two people.
        equal_error: in [0, 1], rate at which as many same pairs are refused as different ones pass.
        accepted: false accept rate such as "0.01" -> share of same pairs that pass, the threshold
            being chosen on these very pairs.
        thresholds: false accept rate -> distance, chosen on clean pairs of other people.
        accepted_by: false accept rate -> share of same pairs that pass this threshold.
        passed_by: false accept rate -> share of different pairs that pass it.
        chosen_on: whose clean pairs chose the thresholds.
    """

    same: _Count
    different: _Count
    equal_error: _Share
    accepted: dict[str, _Share]
    thresholds: dict[str, _Amount]
    accepted_by: dict[str, _Share]
    passed_by: dict[str, _Share]
    chosen_on: str = ""


@dataclass(frozen=True)
class WrongCamera:
    """Clean retrieval where every query is said to be of the camera after its own.

    Attributes:
        cameras: that the network tells apart.
        change: of the queries' features, median of their length's share.
        mean_average_precision: mAP in [0, 1] that is left, protocol "market1501".
        rank1: in [0, 1], likewise.
    """

    cameras: _Count
    change: _Amount
    mean_average_precision: _Share
    rank1: _Share


def check_worst(worst: WorstCase, scores: Mapping[str, Score]) -> None:
    """Raises InputError where a worst case does not belong to the scores of its result."""
    for name in ("one_image", "eight_bit", "floor"):
        protocols = getattr(worst, name)
        if set(protocols) != set(scores):
            raise InputError(
                f"worst.{name} is of {', '.join(protocols)[:80] or 'nothing'}, expected the "
                f"protocols of scores: {', '.join(scores)}"
            )
    for number, member in enumerate(worst.members):
        if not (0 < len(member.name) <= 100 and member.name.isprintable()):
            raise InputError(f"worst.members[{number}].name is {member.name[:40]!r}, no name")


def check_verification(verification: Verification) -> None:
    """Raises InputError where a false accept rate is none."""
    for name in ("accepted", "thresholds", "accepted_by", "passed_by"):
        for rate in getattr(verification, name):
            try:
                fits = 0 < float(rate) < 1
            except ValueError:
                fits = False
            if not fits:
                raise InputError(
                    f"verification.{name} has a rate {rate[:40]!r}, expected a number between 0 "
                    "and 1"
                )
    if not (len(verification.chosen_on) <= 100 and verification.chosen_on.isprintable()):
        raise InputError("verification.chosen_on is no name")


@dataclass(frozen=True)
class Spread:
    """A metric over seeds.

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

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value, one per seed, in their unit."""
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return cls(statistics.fmean(values), min(values), max(values), deviation, len(values))
