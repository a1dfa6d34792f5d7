"""Ranks of the matches, exact, without sorting and without the full distance matrix.

The rank of a match is one plus the number of items before it, so it can be counted block by block
over the gallery and summed over devices. Memory is bounded by the block, whatever the gallery: its
features may be a NumPy memory map larger than the machine.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.checks import Sizes, check_choice, check_count
from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import (
    check_devices,
    check_features,
    check_progress,
    fields_of,
    host_integers,
)
from jaxreid.ranking.counting import MAX_BLOCK, count_before, round_up
from jaxreid.ranking.frames import (
    Frame,
    RowSizes,
    frame_of,
    framed,
    precision,
    row_sizes,
    squared_norms,
)
from jaxreid.ranking.protocol import Matches, cross_camera_matches, retrievable
from jaxreid.ranking.scores import ALIGN, match_scores, row_terms
from jaxreid.types import ArrayLike, Embedded

__all__ = ["MatchRanks", "check_sets", "common_dtype", "match_ranks", "too_close"]

# A squared distance that is smaller than this share of the squared norms it is made of has lost 8
# of float32's 24 bits: it is computed in float64.
_CLOSE = 2.0**-8
# The same where squares are about to leave the range of float32.
_LEAST = 2.0**-80
# Of rows that are 64 times as far from the centre as from each other, float32 loses differences.
_FAR = 2.0**12


class MatchRanks(NamedTuple):
    """Where the matches of each query stand.

    Attributes:
        ranks: [Q,M] int64, 1-based among the items that take part, ascending; 0 in padding.
        mask: [Q,M] boolean; False in padding.
        indices: [Q,M] int64 positions of the matches in the gallery, in the order of `ranks`.
    """

    ranks: np.ndarray
    mask: np.ndarray
    indices: np.ndarray


class _Task(NamedTuple):
    """What a search is about; the same for all queries."""

    query: Embedded
    gallery: Embedded
    sizes: tuple[RowSizes, RowSizes]
    kept: np.ndarray  # [N]
    matches: Matches
    block_size: int
    devices: list[jax.Device]
    progress: Callable[[int, int], None] | None


class _Found(NamedTuple):
    """What a search finds, query by query."""

    scores: np.ndarray  # [Q,M] float64, comparable within a row
    before: np.ndarray  # [Q,M] items of other identities that come before each match
    uncertain: np.ndarray  # [Q] boolean: float32 was too coarse


def check_sets(query: Embedded, gallery: Embedded, distance: str) -> None:
    """Checks everything about a search but the values of the features.

    Args:
        query: features [Q,D] floating point, identities [Q] and cameras [Q] integer.
        gallery: the same with N items.
        distance: "euclidean" or "cosine".

    Raises:
        InputError: on wrong shapes or dtypes, an empty query set or gallery, a gallery of junk
            only, or an unknown distance.
    """
    for name, part, letter in (("query", query, "Q"), ("gallery", gallery, "N")):
        fields_of(name, part, Embedded._fields, "an Embedded")
        sizes = Sizes()
        check_features(f"{name}.features", part.features, f"{letter}D", sizes)
        host_integers(f"{name}.identities", part.identities, letter, sizes)
        host_integers(f"{name}.cameras", part.cameras, letter, sizes)
        if part.features.shape[0] == 0:
            raise InputError(f"{name} is empty; expected at least one item")
    if query.features.shape[1] != gallery.features.shape[1]:
        raise InputError(
            f"query and gallery must have features of one dimension, got "
            f"{query.features.shape[1]} and {gallery.features.shape[1]}"
        )
    if not retrievable(gallery.identities).any():
        raise InputError("every gallery item is junk (identity -1): nothing can be retrieved")
    check_choice("distance", distance, ("euclidean", "cosine"))


def common_dtype(*features: ArrayLike) -> np.dtype:
    """What distances between features are computed in: float64 if any is, float32 otherwise.

    Args:
        *features: each [N,D] floating point of at most 64 bits.

    Returns:
        float32 or float64.
    """
    double = any(x.dtype.itemsize == 8 for x in features)
    return np.dtype(np.float64 if double else np.float32)


def match_ranks(
    query: Embedded,
    gallery: Embedded,
    *,
    distance: Distance = "euclidean",
    block_size: int = 1024,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MatchRanks:
    """Exact ranks of each query's matches, by counting the gallery items that come before them.

    ``r_j = 1 + |{n takes part: (d_n, n) < (d_j, j)}|``: equal distances are ordered by gallery
    index. Junk takes no part, nor do images of the query's identity from the query's camera.

    Exact means that squared distances are compared to about 5 digits at least (6 or 7 where
    features are spread as usual), whatever the features' offset from the origin and their scale:
    they are measured from a point among the gallery and in a power of two, and queries that have a
    match closer than a 16th of their distance from that point are ranked in float64, at two to
    three times the cost. float64 features are ranked in float64 altogether, smaller ones in
    float32, whatever `jax_enable_x64` says.

    Args:
        query: features [Q,D] floating point in the unit of the embedding, identities [Q] and
            cameras [Q] integer.
        gallery: the same with N items; features may be a NumPy memory map.
        distance: "euclidean" or "cosine"; the cosine distance to a zero row is 1.
        block_size: gallery items per device and step; bounds the memory (block_size x D features
            and block_size x 4,096 scores), rounded up to a multiple of 128 and at most 8,064. It
            changes no result.
        devices: where to run; all local devices by default. Their number changes no result.
        progress: called with (gallery items done, all of them) after each step; again from the
            start where some queries are ranked in float64.

    Returns:
        MatchRanks with ranks [Q,M].

    Raises:
        InputError: on wrong shapes or dtypes, NaN, infinity, an empty query set or gallery, a
            gallery of junk only, an unknown distance, or float64 features of which some are 1e150
            times as large as others (Euclidean distances of these do not fit in float64).
    """
    check_sets(query, gallery, distance)
    check_count("block_size", block_size, least=1, most=2**63)
    check_progress(progress)
    devices = check_devices(devices)
    dtype = common_dtype(query.features, gallery.features)
    kept = retrievable(gallery.identities)
    with precision(dtype):
        sizes = (
            row_sizes(query.features, dtype, "query"),
            row_sizes(gallery.features, dtype, "gallery"),
        )
        frame = frame_of(gallery.features, kept, sizes, distance, dtype)
    matches = cross_camera_matches(
        query.identities, query.cameras, gallery.identities, gallery.cameras
    )
    block = round_up(min(block_size, gallery.features.shape[0], MAX_BLOCK), ALIGN)
    found = _search(_Task(query, gallery, sizes, kept, matches, block, devices, progress), frame)
    return _ranks(matches, found.scores, found.before)


def _search(task: _Task, frame: Frame) -> _Found:
    """Searches for all queries in a frame, and in others for those that it does not serve."""
    shape = task.matches.mask.shape
    found = _Found(np.zeros(shape), np.zeros(shape, np.int32), np.zeros(shape[0], bool))
    rows = np.arange(shape[0])
    if frame.distance == "cosine" and frame.centre is not None:
        # A zero query is equally far from everything, which only plain products give exactly.
        zero = task.sizes[0].size == 0
        _search_rows(task, frame._replace(centre=None), np.flatnonzero(zero), found)
        rows = np.flatnonzero(~zero)
    _search_rows(task, frame, rows, found)
    if frame.dtype == np.float32:
        double = frame._replace(dtype=np.dtype(np.float64))
        _search_rows(task, double, np.flatnonzero(found.uncertain), found)
    return found


def _search_rows(task: _Task, frame: Frame, rows: np.ndarray, found: _Found) -> None:
    """Searches for some queries, and writes down what was found, or that it is uncertain."""
    if not len(rows):
        return
    rows = rows[_by_identity(np.asarray(task.query.identities)[rows], task.matches.mask[rows])]
    matches = Matches(task.matches.indices[rows], task.matches.mask[rows])
    with precision(frame.dtype):
        queries = framed(np.asarray(task.query.features[rows]), frame)
        squared = _squared(task.gallery.features, task.sizes[1], frame)
        terms = row_terms(squared, task.sizes[1].size == 0, task.kept, frame)
        scores = match_scores(queries, task.gallery.features, frame, terms, matches)
        if frame.dtype == np.float32:
            own = _squared(task.query.features, task.sizes[0], frame)[rows]
            uncertain = _uncertain(scores, matches.mask, own, squared[matches.indices], frame)
            found.uncertain[rows] = uncertain
            if uncertain.any():
                rows, queries, scores = (x[~uncertain] for x in (rows, queries, scores))
                matches = Matches(*(x[~uncertain] for x in matches))
        if not len(rows):
            return
        found.scores[rows] = scores
        found.before[rows] = count_before(
            queries,
            np.asarray(task.query.identities, np.int32)[rows],
            task.gallery,
            frame,
            terms,
            matches,
            scores,
            block_size=task.block_size,
            devices=task.devices,
            progress=task.progress,
        )


def _uncertain(
    scores: np.ndarray,
    mask: np.ndarray,
    squared: np.ndarray,
    matches_squared: np.ndarray,
    frame: Frame,
) -> np.ndarray:
    """Which queries [Q] have a match for whose distance float32 is too coarse."""
    if frame.distance == "cosine" and frame.centre is None:
        norm = np.sqrt(squared)[:, None]
        # Squared distance of rows of unit length. Products of a zero query are zero, exactly.
        mask = mask & (norm > 0)
        apart = 2 + 2 * np.divide(scores, norm, where=norm > 0, out=np.zeros_like(scores))
        squared, matches_squared = np.ones_like(squared), np.ones_like(matches_squared)
    else:
        apart = squared[:, None] + 2 * scores
    far = matches_squared > _FAR * frame.spread
    return np.any(mask & (too_close(apart, squared[:, None]) | far), axis=1)


def too_close(apart: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """Which squared distances float32 cannot tell well from others.

    Args:
        apart: squared distances [...] as float32 products give them, in a frame.
        squared: squared norms of the rows they belong to, of a shape that broadcasts.

    Returns:
        Boolean [...].
    """
    return apart <= _CLOSE * squared + _LEAST


def _squared(features: ArrayLike, sizes: RowSizes, frame: Frame) -> np.ndarray:
    """Squared norms in the frame [N]; those that are known need no second look at the features."""
    known = frame.plain and sizes.squared.dtype == frame.dtype
    return sizes.squared if known else squared_norms(features, frame)


def _by_identity(identities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Order of queries that puts equal identities together, and few matches before many."""
    _, group = np.unique(identities, return_inverse=True)
    most = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(most, group, mask.sum(axis=1))
    return np.lexsort((group, most[group]))


def _ranks(matches: Matches, scores: np.ndarray, before: np.ndarray) -> MatchRanks:
    """Puts the matches in order: they come before each other, too."""
    # Indices ascend within a row, so a stable sort breaks ties by gallery index.
    order = np.argsort(np.where(matches.mask, scores, np.inf), axis=1, kind="stable")
    mask = np.take_along_axis(matches.mask, order, axis=1)
    ranks = np.take_along_axis(before, order, axis=1) + np.arange(1, mask.shape[1] + 1)
    return MatchRanks(ranks * mask, mask, np.take_along_axis(matches.indices, order, axis=1))
