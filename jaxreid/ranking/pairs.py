"""Distances of pairs of the same person and of two people, kept as far as thresholds need them."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxreid.checks import Sizes, shown
from jaxreid.constants import FALSE_ACCEPT_RATES, Distance
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_array, check_sets
from jaxreid.ranking.blocks import blocks, refuse_nonfinite
from jaxreid.ranking.impersonation import sought_people
from jaxreid.types import ArrayLike, Embedded

__all__ = ["PairDistances", "pair_distances", "search_pairs"]

_Blocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]


class PairDistances(NamedTuple):
    """Distances of pairs, kept as far as every threshold can be judged by them exactly.

    All distances of same pairs are kept, which are few; of different ones, how many lie below each
    of those, and the nearest ones.

    Attributes:
        same: [S] distances of pairs of one person, ascending, in the unit of the distance.
        below: int64 [S], different pairs that are closer than each of these.
        up_to: int64 [S], different pairs that are closer or as close.
        nearest: [F] the smallest distances of different pairs, ascending: as many as the largest
            false accept rate needs, and one more.
        different: number of pairs of two people.
        limits: [L] thresholds that were given.
        passed: int64 [L], different pairs below each of them.
    """

    same: Float[np.ndarray, " S"]
    below: Int[np.ndarray, " S"]
    up_to: Int[np.ndarray, " S"]
    nearest: Float[np.ndarray, " F"]
    different: int
    limits: Float[np.ndarray, " L"]
    passed: Int[np.ndarray, " L"]


def pair_distances(
    same: Float[ArrayLike, " S"],
    different: Float[ArrayLike, " N"],
    *,
    rates: Sequence[str] = FALSE_ACCEPT_RATES,
    limits: Sequence[float] = (),
) -> PairDistances:
    """Counts pairs whose distances are at hand; `search_pairs` does without holding them all.

    Args:
        same: [S] floating point distances of pairs of one person, in any order.
        different: [N] of pairs of two people, same unit.
        rates: false accept rates that will be asked for.
        limits: thresholds of which to count the different pairs below.

    Returns:
        PairDistances.

    Raises:
        InputError: on other shapes, NaN, no pair of either kind, or a rate outside of (0, 1).
    """
    sizes = Sizes()
    for name, values, letter in (("same", same, "S"), ("different", different, "N")):
        check_array(name, values, letter, sizes)
        if np.isnan(np.asarray(values)).any():
            raise InputError(f"{name} holds NaN, expected distances")
    parts = (np.asarray(same), np.asarray(different))
    return _counted(lambda: [parts], rates, limits)


def search_pairs(
    query: Embedded,
    gallery: Embedded,
    *,
    distance: Distance = "euclidean",
    sought: Int[np.ndarray, " Q"] | None = None,
    rates: Sequence[str] = FALSE_ACCEPT_RATES,
    limits: Sequence[float] = (),
) -> PairDistances:
    """Counts the pairs of a search: each query with the gallery items that take part.

    Same pairs are a query and its cross-camera matches. Different pairs are a query and every item
    of another identity, distractors (0) included; junk (-1) and images of the person by the query's
    own camera are in neither, and a query of identity 0 or -1 is in no pair. Two passes over blocks
    of about 64 MB; beside these the memory holds the same pairs and the nearest different ones
    (1 % of them by the default rates: 2.7 MB on Market-1501, 38 MB on MSMT17).

    Args:
        query: features [Q,D] floating point in the unit of the embedding, identities [Q] and
            cameras [Q] integer.
        gallery: the same with N items.
        distance: "euclidean" or "cosine".
        sought: [Q] integer, for each query the one person whose images make its different pairs;
            0 for a query without any. None for everybody else.
        rates: false accept rates that will be asked for.
        limits: thresholds of which to count the different pairs below.

    Returns:
        PairDistances.

    Raises:
        InputError: on wrong shapes or dtypes, NaN or infinity, no pair of either kind, an unknown
            distance, or a rate outside of (0, 1).
    """
    check_sets(query, gallery, distance)
    refuse_nonfinite(query, gallery)
    if sought is not None:
        sought = sought_people(query, sought)
    people = np.asarray(gallery.identities)[None]

    def split() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for block in blocks(query, gallery, distance=distance):
            known = np.asarray(query.identities)[block.rows, None] > 0
            other = known & block.kept & ~block.own
            if sought is not None:
                other &= (people == sought[block.rows, None]) & (people > 0)
            yield block.distances[known & block.own & block.apart], block.distances[other]

    return _counted(split, rates, limits)


def _counted(parts: _Blocks, rates: Sequence[str], limits: Sequence[float]) -> PairDistances:
    """Two passes: the distances of the same pairs, and what lies below them."""
    largest = max((exact_rate(rate) for rate in rates), default=Fraction(0))
    listed, different = [], 0
    for near, far in parts():
        listed.append(near)
        different += len(far)
    same = np.sort(np.concatenate(listed))
    if not len(same) or not different:
        raise InputError(
            f"there are {len(same)} pairs of the same person and {different} of two people: a "
            "threshold needs both"
        )
    kept = min(int(largest * different) + 1, different)
    below, up_to = np.zeros((2, len(same)), np.int64)
    at = np.asarray(limits, same.dtype)
    passed, nearest = np.zeros(len(at), np.int64), np.zeros(0, same.dtype)
    for _, far in parts():
        far = np.sort(far)
        below += np.searchsorted(far, same, side="left")
        up_to += np.searchsorted(far, same, side="right")
        passed += np.searchsorted(far, at, side="left")
        nearest = np.concatenate([nearest, far[:kept]])
        if len(nearest) > kept:
            nearest = np.partition(nearest, kept - 1)[:kept]
    return PairDistances(same, below, up_to, np.sort(nearest), different, at, passed)


def exact_rate(rate: str) -> Fraction:
    """A rate as the fraction that its digits say."""
    try:
        exact = Fraction(str(rate))
    except ValueError:
        exact = Fraction(0)
    if not 0 < exact < 1:
        raise InputError(
            f"a false accept rate lies between 0 and 1, such as 0.01, got {shown(rate)}"
        )
    return exact
