"""Who is taken for whom: thresholds that clean pairs choose, and pairs under them when attacked."""

import dataclasses
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from jaxreid.constants import FALSE_ACCEPT_RATES, Distance
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.impersonation import impersonated, sought_people
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import with_match
from jaxreid.ranking import (
    PairDistances,
    equal_error_rate,
    roc,
    search_pairs,
    threshold_at,
    true_accept_at,
)
from jaxreid.records import Condition, Result, Verification, VerificationCurve
from jaxreid.types import Embedded

__all__ = [
    "OWN_PAIRS",
    "Verified",
    "Verifier",
    "choose_a_threshold",
    "is_verified",
    "with_recognition",
]

OWN_PAIRS = "its own clean pairs"
"""How a record names thresholds that no held-out people chose: rates by these are a little better
than those that another set of people would see."""

# Corners of a curve that are kept: more than a plot shows, and some 6 KB on disk.
_CORNERS = 500


def choose_a_threshold(query: ReidSource, gallery: ReidSource) -> bool:
    """Whether the pairs of two splits are enough for a threshold at the largest false accept rate.

    Args:
        query: Q images.
        gallery: N images.

    Returns:
        True with a pair of the same person, and one of two people for every pair that may pass.
    """
    people, items = (np.asarray(source.identities) for source in (query, gallery))
    names, counts = np.unique(items[items != -1], return_counts=True)
    different = sum(int(counts[names != one].sum()) for one in people[people > 0])
    largest = max(map(Fraction, FALSE_ACCEPT_RATES))
    return different * largest >= 1 and bool(with_match(query, gallery).any())


class Verified(NamedTuple):
    """What is said of the pairs of a condition."""

    numbers: Verification
    curve: VerificationCurve


class Verifier:
    """Judges pairs of a retrieval test by thresholds that were chosen on clean pairs.

    Args:
        held_out: a test of the same embedding with other people, validation people that training
            did not see; None to choose the thresholds on the clean pairs of the judged test.
        chosen_on: how a record names the held-out people.

    Attributes:
        chosen_on: as given; `OWN_PAIRS` without held-out people.
    """

    def __init__(self, held_out: RetrievalTest | None = None, *, chosen_on: str = "") -> None:
        self._held_out = held_out
        self.chosen_on = chosen_on if held_out is not None else OWN_PAIRS
        self._thresholds: dict[Distance, dict[str, float]] = {}

    def thresholds(self, test: RetrievalTest, distance: Distance) -> dict[str, float]:
        """The thresholds by which pairs of a test are judged, chosen when first asked for.

        Args:
            test: that is judged.
            distance: "euclidean" or "cosine".

        Returns:
            False accept rate -> distance, without the rates for which there are too few pairs.

        Raises:
            InputError: there is no clean pair of the same person, or none of two people.
        """
        if distance not in self._thresholds:
            judge = self._held_out or test
            try:
                pairs = search_pairs(*judge.sets(Condition(distance=distance)), distance=distance)
            except InputError as error:
                raise InputError(f"no threshold by {self.chosen_on}: {error}") from None
            found = {rate: threshold_at(pairs, rate) for rate in FALSE_ACCEPT_RATES}
            self._thresholds[distance] = {k: t for k, t in found.items() if t is not None}
        return self._thresholds[distance]

    def __call__(
        self,
        test: RetrievalTest,
        sets: tuple[Embedded, Embedded],
        distance: Distance,
        sought: np.ndarray | None = None,
    ) -> Verified:
        """Judges the pairs of a test, clean or attacked.

        Args:
            test: the retrieval test.
            sets: its queries and its gallery, attacked or not, from `RetrievalTest.sets`.
            distance: "euclidean" or "cosine".
            sought: int64 [Q], whom each query impersonates, 0 for nobody: then different pairs are
                a query and the images of that person. None for everybody else's.

        Returns:
            Verified.

        Raises:
            InputError: as `thresholds` and `jaxreid.ranking.search_pairs` do.
        """
        thresholds = self.thresholds(test, distance)
        limits = list(thresholds.values())
        pairs = search_pairs(*sets, distance=distance, sought=sought, limits=limits)
        curve = roc(pairs, most=_CORNERS)
        return Verified(
            _numbers(pairs, thresholds, self.chosen_on),
            VerificationCurve(curve.false_accept, curve.true_accept, curve.threshold),
        )


def _numbers(pairs: PairDistances, thresholds: dict[str, float], chosen_on: str) -> Verification:
    accepted = {rate: true_accept_at(pairs, rate) for rate in FALSE_ACCEPT_RATES}
    below = np.searchsorted(pairs.same, pairs.limits, side="left") / len(pairs.same)
    return Verification(
        same=len(pairs.same),
        different=pairs.different,
        equal_error=equal_error_rate(pairs),
        accepted={rate: share for rate, share in accepted.items() if share is not None},
        thresholds=dict(thresholds),
        accepted_by=dict(zip(thresholds, below.tolist(), strict=True)),
        passed_by=dict(zip(thresholds, (pairs.passed / pairs.different).tolist(), strict=True)),
        chosen_on=chosen_on,
    )


def with_recognition(
    test: RetrievalTest,
    result: Result,
    sets: tuple[Embedded, Embedded],
    verifier: Verifier | None,
) -> tuple[Result, VerificationCurve | None]:
    """Adds how often queries are found as whom they aim at, and the pairs under thresholds.

    Args:
        test: the retrieval test.
        result: of the attack, with its scores.
        sets: queries and gallery after the attack.
        verifier: judges pairs; None for no verification.

    Returns:
        The result with what belongs to it, and the curve of the verification.
    """
    condition, sought = result.condition, None
    if condition.goal == "impersonate":
        sought = sought_people(test, condition)
        clean, distance = test.sets(condition), condition.distance
        aimed = impersonated(clean, sets, sought, distance=distance)
        result = dataclasses.replace(result, impersonation=aimed)
    if verifier is None:
        return result, None
    found = verifier(test, sets, condition.distance, sought)
    return dataclasses.replace(result, verification=found.numbers), found.curve


def is_verified(result: Result, verifier: Verifier | None) -> bool:
    """Whether a result has the verification that is asked for, by the same people's thresholds."""
    if verifier is None:
        return True
    found = result.verification
    return found is not None and found.chosen_on == verifier.chosen_on
