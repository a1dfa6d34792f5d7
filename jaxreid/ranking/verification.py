"""Same person or not, by a threshold: ROC, equal error rate, acceptance at a false accept rate.

A pair passes where its distance is below the threshold. A false accept is a pair of two people that
passes, a true accept one of the same person that does. Every number here is exact: it is a count of
pairs, never a reading off bins.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_fields
from jaxreid.ranking.pairs import PairDistances, exact_rate

__all__ = ["Roc", "equal_error_rate", "roc", "threshold_at", "true_accept_at"]


class Roc(NamedTuple):
    """Corners of a receiver operating characteristic, from nothing passes to all passes.

    Between two corners thresholds change one rate only, or, where pairs of both kinds are equally
    far, both at once: on the straight line that joins the corners.

    Attributes:
        false_accept: [P] float64 in [0, 1], ascending.
        true_accept: [P] float64 in [0, 1], ascending.
        threshold: [P] in the unit of the distance; -inf at the first and inf at the last corner.
    """

    false_accept: Float[np.ndarray, " P"]
    true_accept: Float[np.ndarray, " P"]
    threshold: Float[np.ndarray, " P"]


def threshold_at(pairs: PairDistances, rate: str) -> float | None:
    """The largest threshold at which at most a share `rate` of the different pairs pass.

    ``t = d_(k+1), k = floor(rate N)``: the distance of the (k+1)-th nearest different pair, so that
    ``|{d < t}| <= k``. Where different pairs tie there, fewer than k pass: none of the tied ones.

    Args:
        pairs: of N different pairs, counted for this rate or a larger one.
        rate: in (0, 1), as text such as "0.001".

    Returns:
        Unit of the distance; None where N < 1 / rate: then no pair at all might pass, and the rate
        cannot be told from one ten times as small.

    Raises:
        InputError: a rate outside of (0, 1), or larger than those the pairs were counted for.
    """
    check_fields("pairs", pairs, PairDistances._fields, "a PairDistances")
    allowed = int(exact_rate(rate) * pairs.different)
    if allowed >= len(pairs.nearest):
        raise InputError(f"rate {rate} is larger than those that the pairs were counted for")
    return float(pairs.nearest[allowed]) if allowed else None


def true_accept_at(pairs: PairDistances, rate: str) -> float | None:
    """Share of same pairs that pass at a false accept rate, the largest of any threshold.

    ``TAR = |{same d < t}| / S`` with t of `threshold_at`.

    Args:
        pairs: counted for this rate or a larger one.
        rate: in (0, 1), as text such as "0.001".

    Returns:
        In [0, 1]; None where there are too few different pairs for the rate.

    Raises:
        InputError: as `threshold_at` does.
    """
    threshold = threshold_at(pairs, rate)
    if threshold is None:
        return None
    return float(np.searchsorted(pairs.same, threshold, side="left") / len(pairs.same))


def _corners(pairs: PairDistances) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of passing different and same pairs at each corner, and its threshold."""
    same, count = pairs.same, len(pairs.same)
    first = np.flatnonzero(np.append(True, same[1:] > same[:-1]))
    last = np.append(first[1:], count)
    far = np.stack([pairs.below[first], pairs.up_to[first]], axis=1).ravel()
    near = np.stack([first, last], axis=1).ravel()
    distances = same[first]
    after = np.nextafter(distances, np.asarray(np.inf, same.dtype))
    at = np.stack([distances, after], axis=1).ravel()
    far = np.concatenate([[0], far, [pairs.different]])
    near = np.concatenate([[0], near, [count]])
    at = np.concatenate([[-np.inf], at, [np.inf]])
    new = np.append(True, (np.diff(far) > 0) | (np.diff(near) > 0))
    return far[new], near[new], at[new]


def roc(pairs: PairDistances, *, most: int | None = None) -> Roc:
    """The receiver operating characteristic, as true corners of it.

    Args:
        pairs: from `search_pairs` or `pair_distances`.
        most: how many corners to keep at most, evenly spread over the logarithm of the false accept
            rate and over the true accept rate; at least 4. None for all.

    Returns:
        Roc; from (0, 0) to (1, 1).

    Raises:
        InputError: most is below 4.
    """
    check_fields("pairs", pairs, PairDistances._fields, "a PairDistances")
    far, near, at = _corners(pairs)
    if most is not None:
        if most < 4:
            raise InputError(f"most must be at least 4, got {most}")
        if len(far) > most:
            kept = _spread(far, near, most)
            far, near, at = far[kept], near[kept], at[kept]
    return Roc(far / pairs.different, near / len(pairs.same), at)


def _spread(far: np.ndarray, near: np.ndarray, most: int) -> np.ndarray:
    """Positions of at most that many corners, the ends among them."""
    half = (most - 2) // 2
    # The last corner at or before each of these, in both rates: the most that pass there.
    by_far = np.searchsorted(far, np.geomspace(1, far[-1], half), side="right") - 1
    by_near = np.searchsorted(near, np.linspace(0, near[-1], half), side="right") - 1
    return np.unique(np.concatenate([[0], by_far, by_near, [len(far) - 1]]))


def equal_error_rate(pairs: PairDistances) -> float:
    """The rate at which as many same pairs are refused as different ones pass.

    Where ``FAR = 1 - TAR`` on the ROC, its corners joined by straight lines: the one such point. By
    that convention it is 1/2 where all distances are equal.

    Args:
        pairs: from `search_pairs` or `pair_distances`.

    Returns:
        In [0, 1].
    """
    check_fields("pairs", pairs, PairDistances._fields, "a PairDistances")
    far, near, _ = _corners(pairs)
    # In whole numbers, so that a corner where both are equal is met exactly. The sum climbs from 0
    # to twice `all_pass` along the curve.
    all_pass = pairs.different * len(pairs.same)
    total = far.astype(np.int64) * len(pairs.same) + near.astype(np.int64) * pairs.different
    after = int(np.argmax(total >= all_pass))
    before = after - 1
    weight = (all_pass - total[before]) / (total[after] - total[before])
    return float((far[before] + weight * (far[after] - far[before])) / pairs.different)
