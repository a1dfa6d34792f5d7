"""What no change of a query up to some length can do to a ranking by smoothed features.

Everything is float64 on the host, block by block over the gallery.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from jaxreid.checks import Sizes, check_count, check_number, shown
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import Progress, check_array, check_progress, check_sets
from jaxreid.ranking.blocks import refuse_nonfinite
from jaxreid.ranking.protocol import (
    Matches,
    MatchRanks,
    cross_camera_matches,
    in_order,
    retrievable,
)
from jaxreid.types import ArrayLike, Embedded

__all__ = ["Certificates", "certified_ranks", "mean_error"]

# Gallery items at a time: with 50 matches of a query 1.6 MB per array.
_ITEMS = 4096
# Gallery features that are closer than float64 products tell apart count as one and the same.
_SAME = 1e-6
# By how much rounding may make a mean of rows of unit length longer than 1.
_ROUNDING = 1e-4
# Every round gives a bound; after so many it is within 1e-9 of the last one.
_ROUNDS = 100


class Certificates(NamedTuple):
    """What is certain of each query.

    Attributes:
        radius: [Q] float64, in the unit of sigma: as long as the query changes by less in L2, a
            match comes first. Below 0 where that is not even certain of the query as it is, and
            negative infinity for a query without a match.
        ranks: for each of the radii, ranks that the matches cannot be later than, best match first:
            average precision, rank-k and mINP of `summarize` are then lower bounds.
    """

    radius: Float[np.ndarray, " Q"]
    ranks: tuple[MatchRanks, ...]


def certified_ranks(
    query: Embedded,
    gallery: Embedded,
    *,
    sigma: float,
    error: float | Float[ArrayLike, " Q"],
    radii: Sequence[float],
    progress: Progress | None = None,
) -> Certificates:
    """Bounds of the ranks under every change of a query image that is not longer than a radius.

    Queries are ranked by the Euclidean distance of ``g(x) = E f(x + sigma e)``, e normal and
    ``||f|| <= 1``, to a gallery that stays as it is. A wrong item n passes a match p once ``a =
    <v, g>`` along ``v = (c_n - c_p) / ||c_n - c_p||`` reaches the bisector ``b = (||c_n||^2 -
    ||c_p||^2) / (2 ||c_n - c_p||)``. As ``F^-1((1 + a(x)) / 2)``, F the normal distribution
    function, changes by at most 1 / sigma per unit of x, that takes a change of ``sigma (F^-1((1 +
    b) / 2) - F^-1((1 + a) / 2))`` at least. Counted for each match, this bounds its rank and all
    metrics. After Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed
    Classifiers", NeurIPS 2019, https://arxiv.org/abs/1906.04584, and for features Pautov et al.,
    "Smoothed Embeddings for Certified Few-Shot Learning", NeurIPS 2022,
    https://arxiv.org/abs/2202.01186. Equal distances count against the matches.

    Args:
        query: features [Q,D] floating point, g or an estimate of it, of length 1 at most;
            identities [Q] and cameras [Q] integer.
        gallery: the same with N items, features of any length.
        sigma: above 0, standard deviation of the noise in pixel range.
        error: at least 0, how far an estimate may be from g (`mean_error`), one or [Q]; 0 where it
            is exact.
        radii: R numbers of at least 0, lengths of the change in pixel range.
        progress: called with (gallery items done, all of them).

    Returns:
        Certificates with R ranks.

    Raises:
        InputError: on wrong shapes or dtypes, NaN, infinity, an empty set, queries longer than 1,
            or numbers out of range.
    """
    check_sets(query, gallery, "euclidean")
    refuse_nonfinite(query, gallery)
    check_progress(progress)
    features = np.asarray(query.features, np.float64)
    slack, limits = _settings(features, sigma, error, radii)
    matches = cross_camera_matches(
        query.identities, query.cameras, gallery.identities, gallery.cameras
    )
    counts = np.zeros((len(limits), *matches.mask.shape), np.int64)
    least = np.full(matches.mask.shape, np.inf)
    people, kept = np.asarray(gallery.identities), retrievable(gallery.identities)
    for start in range(0, len(people), _ITEMS):
        block = slice(start, start + _ITEMS)
        items = np.asarray(gallery.features[block], np.float64)
        for identity, rows, own in _searches(query, matches):
            pair = _Pairs(np.asarray(gallery.features[own], np.float64), items)
            others = kept[block] & (people[block] != identity)
            for row in rows:
                mask = matches.mask[row]
                places = np.searchsorted(own, matches.indices[row][mask])
                reach = float(sigma) * pair.reach(features[row], slack[row], places)[:, others]
                least[row, mask] = np.minimum(least[row, mask], reach.min(axis=1, initial=np.inf))
                for number, limit in enumerate(limits):
                    counts[number, row, mask] += np.sum(reach <= limit, axis=1)
        if progress is not None:
            progress(min(block.stop, len(people)), len(people))
    radius = np.where(matches.mask, least, -np.inf).max(axis=1)
    return Certificates(radius, tuple(in_order(matches, n.astype(float), n) for n in counts))


def mean_error(
    lengths: Float[ArrayLike, " Q"], *, samples: int, failure: float
) -> Float[np.ndarray, " Q"]:
    """How far a mean of m samples of a feature may be from its expectation, a bound for each query.

    With ``||f|| <= 1`` and probability 1 - failure, ``||g_m - g|| <= 2 x / (3 m) + sqrt((2 x / (3
    m))^2 + 2 V x / m)`` where ``x = ln(2 / failure)`` and ``V = E ||f - g||^2 <= 1 - ||g||^2``:
    Bernstein's inequality in a Hilbert space, Pinelis, "Optimum Bounds for the Distributions of
    Martingales in Banach Spaces", Annals of Probability 22, 1994,
    https://doi.org/10.1214/aop/1176988477. As ``||g|| >= ||g_m|| - ||g_m - g||``, the bound is put
    into itself until it no longer shrinks.

    Args:
        lengths: [Q] floating point in [0, 1], of the means: ``||g_m||``.
        samples: m, at least 1.
        failure: in (0, 1), probability with which the bound may be wrong, of one query.

    Returns:
        [Q] float64 in (0, 2].

    Raises:
        InputError: on another shape or dtype, or numbers out of range.
    """
    sizes = Sizes()
    check_array("lengths", lengths, "Q", sizes)
    known = np.asarray(lengths)
    if known.dtype.kind != "f" or not np.all((known >= 0) & (known <= 1 + _ROUNDING)):
        raise InputError(f"lengths must be floating point in [0, 1], got {shown(lengths)}")
    check_count("samples", samples, least=1)
    check_number("failure", failure, lambda a: (a > 0) & (a < 1), "lie in (0, 1)")
    x = math.log(2 / float(failure)) / samples
    error = np.full(len(known), 2.0)
    for _ in range(_ROUNDS):
        variance = 1 - np.square(np.maximum(known - error, 0))
        error = np.minimum(error, 2 * x / 3 + np.sqrt(np.square(2 * x / 3) + 2 * variance * x))
    return error


def _settings(
    features: Float[np.ndarray, "Q D"],
    sigma: float,
    error: float | ArrayLike,
    radii: Sequence[float],
) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " R"]]:
    """Errors of all queries, and the radii, checked."""
    longest = float(np.linalg.norm(features, axis=1).max())
    if longest > 1 + _ROUNDING:
        raise InputError(
            "query.features must be means of features of length 1 at most, got one of length "
            f"{longest:.4g}"
        )
    check_number("sigma", sigma, lambda s: (s > 0) & (s < jnp.inf), "be above 0")
    check_number("error", error, lambda t: (t >= 0) & (t < jnp.inf), "be at least 0", axes=1)
    if np.shape(error) not in ((), (len(features),)):
        raise InputError(
            f"error must be a number or have shape [Q] = [{len(features)}], got shape "
            f"{list(np.shape(error))}"
        )
    row = isinstance(radii, np.ndarray) and radii.ndim == 1
    if not (isinstance(radii, list | tuple) or row) or not len(radii):
        raise InputError(f"radii must be a sequence of at least one number, got {shown(radii)}")
    for number, one in enumerate(radii):
        check_number(f"radii[{number}]", one, lambda r: (r >= 0) & (r < jnp.inf), "be at least 0")
    slack = np.broadcast_to(np.asarray(error, np.float64), len(features))
    return slack, np.asarray(radii, np.float64)


def _searches(
    query: Embedded, matches: Matches
) -> list[tuple[int, Int[np.ndarray, " q"], Int[np.ndarray, " P"]]]:
    """Of each person with a match: who it is, queries, and gallery positions of all matches."""
    people, found = np.asarray(query.identities), matches.mask.any(axis=1)
    searches = []
    for identity in np.unique(people[found]):
        rows = np.flatnonzero(found & (people == identity))
        own = np.unique(matches.indices[rows][matches.mask[rows]])
        searches.append((int(identity), rows, own))
    return searches


class _Pairs:
    """Matches [P,D] and other items [n,D], and how far a query is from preferring one of these."""

    def __init__(self, own: Float[np.ndarray, "P D"], items: Float[np.ndarray, "n D"]) -> None:
        self._own, self._items = own, items
        squares = [np.einsum("nd,nd->n", part, part) for part in (own, items)]
        gaps = squares[1] - squares[0][:, None]
        apart = np.sqrt(np.maximum(squares[1] + squares[0][:, None] - 2 * own @ items.T, 0))
        self._same: Bool[np.ndarray, "P n"] = apart < _SAME
        self._apart = np.where(self._same, 1, apart)
        self._bisector = _quantile(gaps / (2 * self._apart))

    def reach(
        self, feature: Float[np.ndarray, " D"], slack: float, places: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m n"]:
        """The shortest change, in units of sigma, by which an item may pass one of the matches."""
        along = self._items @ feature - (self._own[places] @ feature)[:, None]
        here = _quantile(along / self._apart[places] + slack)
        bisector = self._bisector[places]
        passed = self._same[places] | (bisector == -np.inf) | (here == np.inf)
        return np.where(passed, -np.inf, bisector - np.where(passed, 0, here))


def _quantile(share: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """``F^-1((1 + a) / 2)`` of a in [-1, 1]; infinite beyond."""
    found: np.ndarray = ndtri((1 + np.clip(share, -1, 1)) / 2)
    return found
