"""Ranks of the matches, exact, without sorting and without the full distance matrix.

The rank of a match is one plus the number of items before it, so it can be counted block by block
over the gallery and summed over devices. Memory is bounded by the block, whatever the gallery: its
features may be a NumPy memory map larger than the machine.
"""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxreid.checks import check_choice, check_count
from jaxreid.constants import Distance, ProtocolName, Ties
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import Progress, check_devices, check_progress, check_sets
from jaxreid.ranking.frames import (
    Frame,
    RowSizes,
    frame_of_search,
    framed,
    precision,
    squared_norms,
    too_close,
)
from jaxreid.ranking.protocol import (
    Matches,
    MatchRanks,
    RankingMetrics,
    check_report,
    cross_camera_matches,
    in_order,
    retrievable,
    summarize,
)
from jaxreid.ranking.reranking import KReciprocal, check_settings, k_reciprocal, reordered
from jaxreid.ranking.scores import (
    ALIGN,
    MAX_BLOCK,
    Items,
    Queries,
    count_before,
    match_scores,
    round_up,
    row_terms,
)
from jaxreid.types import ArrayLike, Embedded

__all__ = ["evaluate", "match_ranks"]

# Of rows that are 64 times as far from the centre as from each other, float32 loses differences.
_FAR = 2.0**12


class _Task(NamedTuple):
    """What a search is about; the same for all queries."""

    query: Embedded
    gallery: Embedded
    sizes: tuple[RowSizes, RowSizes]
    kept: Bool[np.ndarray, " N"]
    matches: Matches
    block_size: int
    devices: list[jax.Device]
    progress: Progress | None
    ties: Ties


class _Found(NamedTuple):
    """What a search finds, query by query."""

    scores: Float[np.ndarray, "Q M"]  # float64, comparable within a row
    before: Int[np.ndarray, "Q M"]  # items of other identities that come before each match
    uncertain: Bool[np.ndarray, " Q"]  # float32 was too coarse


def match_ranks(
    query: Embedded,
    gallery: Embedded,
    *,
    distance: Distance = "euclidean",
    ties: Ties = "index",
    block_size: int = 1024,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
) -> MatchRanks:
    """Exact ranks of each query's matches, by counting the gallery items that come before them.

    ``r_j = 1 + |{n takes part: (d_n, n) < (d_j, j)}|``: equal distances are ordered by gallery
    index, or with `ties` "pessimistic" others before matches, and matches by index. Junk takes no
    part, nor do images of the query's identity from the query's camera.

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
        ties: "index" or "pessimistic", which finds nobody where all features are one.
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
            gallery of junk only, an unknown distance or order of ties, or float64 features of which
            some are 1e150 times as large as others (Euclidean distances of these do not fit in
            float64).
    """
    check_sets(query, gallery, distance)
    check_count("block_size", block_size, least=1, most=2**63)
    check_choice("ties", ties, get_args(Ties))
    check_progress(progress)
    devices = check_devices(devices)
    kept = retrievable(gallery.identities)
    frame, sizes = frame_of_search(query, gallery, kept, distance)
    matches = cross_camera_matches(
        query.identities, query.cameras, gallery.identities, gallery.cameras
    )
    block = round_up(min(block_size, gallery.features.shape[0], MAX_BLOCK), ALIGN)
    found = _search(
        _Task(query, gallery, sizes, kept, matches, block, devices, progress, ties), frame
    )
    return in_order(matches, found.scores, found.before)


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
        gallery = Items(task.gallery.features, task.gallery.identities, frame, terms)
        scores = match_scores(queries, gallery, matches)
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
            Queries(queries, np.asarray(task.query.identities, np.int32)[rows], matches, scores),
            gallery,
            block_size=task.block_size,
            pessimistic=task.ties == "pessimistic",
            devices=task.devices,
            progress=task.progress,
        )


def _uncertain(
    scores: Float[np.ndarray, "Q M"],
    mask: Bool[np.ndarray, "Q M"],
    squared: Float[np.ndarray, " Q"],
    matches_squared: Float[np.ndarray, "Q M"],
    frame: Frame,
) -> Bool[np.ndarray, " Q"]:
    """Which queries have a match for whose distance float32 is too coarse."""
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


def _squared(
    features: Float[ArrayLike, "N D"], sizes: RowSizes, frame: Frame
) -> Float[np.ndarray, " N"]:
    """Squared norms in the frame; those that are known need no second look at the features."""
    known = frame.plain and sizes.squared.dtype == frame.dtype
    return sizes.squared if known else squared_norms(features, frame)


def _by_identity(
    identities: Int[np.ndarray, " Q"], mask: Bool[np.ndarray, "Q M"]
) -> Int[np.ndarray, " Q"]:
    """Order of queries that puts equal identities together, and few matches before many."""
    _, group = np.unique(identities, return_inverse=True)
    most = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(most, group, mask.sum(axis=1))
    return np.lexsort((group, most[group]))


def evaluate(
    query: Embedded,
    gallery: Embedded,
    *,
    protocol: ProtocolName = "market1501",
    distance: Distance = "euclidean",
    ties: Ties = "index",
    block_size: int = 1024,
    max_rank: int = 50,
    rerank: KReciprocal | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
) -> RankingMetrics:
    """Ranks a gallery for every query and measures how well the matches are found.

    mAP, CMC (rank-k) and mINP with the cross-camera rule of Zheng et al., "Scalable Person
    Re-identification: A Benchmark", ICCV 2015, https://doi.org/10.1109/ICCV.2015.133. Runs on the
    host and all local devices; not for use under jit.

    Args:
        query: features [Q,D] floating point in the unit of the embedding, identities [Q] and
            cameras [Q] integer.
        gallery: the same with N items; features may be a NumPy memory map.
        protocol: "market1501" or "torchreid", see `summarize`.
        distance: "euclidean" or "cosine".
        ties: how equal distances are ordered, "index" or "pessimistic", see `match_ranks`.
        block_size: gallery items per device and step; bounds the memory, changes no result.
        max_rank: length of the CMC curve.
        rerank: settings of k-reciprocal re-ranking, applied to the first items of each ranking.
        devices: where to run; all local devices by default.
        progress: called with (items done, all of them).

    Returns:
        RankingMetrics.

    Raises:
        InputError: as `match_ranks` and `summarize` do, or if pessimistic ties are asked for with
            re-ranking, whose new order is by index where it is equal.
    """
    check_report(protocol, max_rank)
    if rerank is not None:
        check_settings(rerank)
        if ties != "index":
            raise InputError(f'ties must be "index" with rerank, got {ties!r}')
    ranks = match_ranks(
        query,
        gallery,
        distance=distance,
        ties=ties,
        block_size=block_size,
        devices=devices,
        progress=progress,
    )
    if rerank is not None:
        order = k_reciprocal(query, gallery, settings=rerank, distance=distance, progress=progress)
        ranks = reordered(ranks, order, query, gallery)
    return summarize(ranks, protocol=protocol, max_rank=max_rank)
