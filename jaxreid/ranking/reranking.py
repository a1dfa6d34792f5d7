"""k-reciprocal re-ranking of the first items of each ranking, in bounded memory.

Neighbour lists are found block by block, and the k-reciprocal encodings are sparse: nothing of
size (queries + gallery)^2 is ever held.
"""

from collections.abc import Callable
from functools import cache, partial
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from jaxreid.checks import Sizes, check_count, shown
from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import (
    check_array,
    check_progress,
    check_type,
    fields_of,
    host_integers,
)
from jaxreid.ranking.frames import Frame, embedded_rows, frame_of, precision, row_sizes
from jaxreid.ranking.metrics import checked_ranks
from jaxreid.ranking.protocol import retrievable
from jaxreid.ranking.search import MatchRanks, check_sets, common_dtype, too_close
from jaxreid.types import Array, Embedded

__all__ = ["KReciprocal", "Reranking", "check_settings", "k_reciprocal", "reordered"]

# 1,024 x 8,192 distances are 32 MB.
_ROWS, _COLUMNS = 1024, 8192
# Pairs of features gathered at a time; 16,384 x 2,048 x 4 bytes are 134 MB.
_PAIRS = 16_384
_TINY = np.finfo(np.float64).tiny


class KReciprocal(NamedTuple):
    """Settings of k-reciprocal re-ranking; the defaults are the paper's.

    Attributes:
        top: how many first items of each ranking are put in a new order.
        k1: neighbours that make up an encoding.
        k2: neighbours whose encodings are averaged.
        weight: share of the original distance in the final one, in [0, 1].
    """

    top: int = 100
    k1: int = 20
    k2: int = 6
    weight: float = 0.3


class Reranking(NamedTuple):
    """New order of the first gallery items of each query.

    Attributes:
        indices: [Q,T] int64 positions in the gallery, best first.
        distances: [Q,T] float64 final distances, not falling.
    """

    indices: np.ndarray
    distances: np.ndarray


class _Neighbours(NamedTuple):
    indices: np.ndarray  # [n,k] nearest first
    distances: np.ndarray  # [n,k]
    furthest: np.ndarray  # [n] distance to the furthest item


@partial(jax.jit, static_argnames="k")
def _nearest_of_rows(
    rows: Array, items: Array, count: Array, *, k: int
) -> tuple[Array, Array, Array]:
    """Top k of `rows` among the first `count` of `items` [blocks, _COLUMNS, D]."""

    def merge(
        best: tuple[Array, Array, Array], block: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array, Array], None]:
        distances, indices, furthest = best
        features, positions = block
        products = jnp.matmul(rows, features.T, precision=jax.lax.Precision.HIGHEST)
        squares = jnp.sum(jnp.square(features), axis=1)
        new = jnp.maximum(own[:, None] + squares[None, :] - 2 * products, 0)
        here = positions < count
        furthest = jnp.maximum(furthest, jnp.max(jnp.where(here, new, 0), axis=1))
        everything = jnp.concatenate([distances, jnp.where(here, new, jnp.inf)], axis=1)
        # top_k prefers the first of equals, and earlier blocks come first: ties go by index.
        closeness, chosen = jax.lax.top_k(-everything, k)
        held = jnp.take_along_axis(indices, jnp.minimum(chosen, k - 1), axis=1)
        names = jnp.where(chosen < k, held, positions[0] + chosen - k)
        return (-closeness, names, furthest), None

    own = jnp.sum(jnp.square(rows), axis=1)
    blocks = items.shape[0]
    positions = jnp.arange(blocks * _COLUMNS, dtype=jnp.int32).reshape(blocks, _COLUMNS)
    nothing = (
        jnp.full((rows.shape[0], k), jnp.inf, rows.dtype),
        jnp.zeros((rows.shape[0], k), jnp.int32),
        jnp.zeros(rows.shape[0], rows.dtype),
    )
    (distances, indices, furthest), _ = jax.lax.scan(merge, nothing, (items, positions))
    return distances, indices, furthest


def _nearest(
    rows: np.ndarray, items: np.ndarray, k: int, progress: Callable[[int, int], None] | None
) -> _Neighbours:
    """The k nearest items of every row, by squared Euclidean distance in the dtype of the rows."""
    blocks = -(-len(items) // _COLUMNS)
    padded = np.pad(items, [(0, blocks * _COLUMNS - len(items)), (0, 0)])
    on_device = jnp.asarray(padded.reshape(blocks, _COLUMNS, -1))
    parts = []
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        full = np.pad(part, [(0, _ROWS - len(part)), (0, 0)])
        found = jax.device_get(_nearest_of_rows(jnp.asarray(full), on_device, len(items), k=k))
        parts.append([x[: len(part)] for x in found])
        if progress is not None:
            progress(start + len(part), len(rows))
    distances, indices, furthest = (np.concatenate(x) for x in zip(*parts, strict=True))
    return _Neighbours(indices, distances.astype(np.float64), furthest.astype(np.float64))


def _surely_nearest(
    features: Callable[[np.dtype], np.ndarray],
    dtype: np.dtype,
    rows: slice,
    items: slice,
    k: int,
    progress: Callable[[int, int], None] | None = None,
) -> _Neighbours:
    """The same, in float64 for rows with a neighbour (but themselves) too close for the dtype."""
    own, others = features(dtype)[rows], features(dtype)[items]
    with precision(dtype):
        found = _nearest(own, others, k, progress)
    if dtype == np.float64:
        return found
    squared = np.einsum("nd,nd->n", own, own)
    itself = found.indices + (items.start or 0) == np.arange(len(own))[:, None]
    close = np.flatnonzero(np.any(~itself & too_close(found.distances, squared[:, None]), axis=1))
    if len(close):
        wide = features(np.dtype(np.float64))
        with precision(wide.dtype):
            better = _nearest(wide[rows][close], wide[items], k, progress)
        for part, exact in zip(found, better, strict=True):
            part[close] = exact
    return found


def _features(query: Embedded, gallery: Embedded, kept: np.ndarray, frame: Frame) -> np.ndarray:
    """Features of the queries and of the gallery items that take part, [Q+N,D]."""
    queries, count = query.features.shape[0], query.features.shape[0] + len(kept)
    features = np.empty((count, query.features.shape[1]), frame.dtype)
    zero = np.zeros(count, bool)
    for start in range(0, count, _ROWS):
        part = slice(start, min(start + _ROWS, count))
        items = kept[max(part.start - queries, 0) : max(part.stop - queries, 0)]
        rows = np.concatenate(
            [np.asarray(query.features[part]), np.asarray(gallery.features[items])]
        )
        features[part], zero[part] = embedded_rows(rows, frame), ~np.any(rows, axis=1)
    if frame.distance == "cosine" and zero.any():
        # A direction of their own: the cosine distance to a zero row is 1.
        features = np.concatenate([features, zero[:, None]], axis=1, dtype=frame.dtype)
    return features


def _reciprocal(nearest: np.ndarray) -> sparse.csr_matrix:
    """Boolean [n,n]: j is among the neighbours of i, and i among those of j."""
    n, k = nearest.shape
    rows = np.repeat(np.arange(n), k)
    near = sparse.csr_matrix((np.ones(n * k, np.float32), (rows, nearest.ravel())), shape=(n, n))
    return near.multiply(near.T).tocsr()


def _expanded(nearest: np.ndarray, k1: int) -> sparse.csr_matrix:
    """k-reciprocal sets, joined with the half-size sets of members that overlap by 2/3."""
    base = _reciprocal(nearest[:, : k1 + 1])
    half = _reciprocal(nearest[:, : int(np.around(k1 / 2)) + 1])
    size = np.asarray(half.sum(axis=1)).ravel()
    overlap = (base @ half.T).multiply(base).tocsr()
    enough = overlap.data > 2 / 3 * size[overlap.indices]
    joined = sparse.csr_matrix(
        (enough.astype(np.float32), overlap.indices, overlap.indptr), shape=base.shape
    )
    joined.eliminate_zeros()
    members = (base + joined @ half).tocsr()
    members.sort_indices()
    return members


def _encodings(
    features: np.ndarray, neighbours: _Neighbours, settings: KReciprocal
) -> sparse.csr_matrix:
    """Gaussian-weighted k-reciprocal encodings, averaged over k2 neighbours, [n,n] sparse."""
    members = _expanded(neighbours.indices, settings.k1)
    n = len(features)
    rows = np.repeat(np.arange(n), np.diff(members.indptr))
    weights = np.empty(len(rows), np.float64)
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        change = features[rows[part]] - features[members.indices[part]]
        weights[part] = np.einsum("nd,nd->n", change, change, dtype=np.float64)
    weights = np.exp(-weights / np.maximum(neighbours.furthest[rows], _TINY))
    total = np.bincount(rows, weights, minlength=n)
    encodings = sparse.csr_matrix(
        (weights / total[rows], members.indices, members.indptr), shape=(n, n)
    )
    if settings.k2 == 1:
        return encodings
    near = neighbours.indices[:, : settings.k2]
    share = np.full(near.size, 1 / near.shape[1])
    pairs = (np.repeat(np.arange(n), near.shape[1]), near.ravel())
    mean = sparse.csr_matrix((share, pairs), shape=(n, n))
    return (mean @ encodings).tocsr()


def _jaccard(encodings: sparse.csr_matrix, query: int, items: np.ndarray) -> np.ndarray:
    """Jaccard distance between the encodings of one row and of some items, [T]."""
    own = np.zeros(encodings.shape[1])
    row = encodings[query]
    own[row.indices] = row.data
    others = encodings[items]
    shared = np.minimum(others.data, own[others.indices])
    owner = np.repeat(np.arange(len(items)), np.diff(others.indptr))
    overlap = np.bincount(owner, shared, minlength=len(items))
    return 1 - overlap / (2 - overlap)


def check_settings(settings: KReciprocal) -> None:
    """Checks the settings of re-ranking.

    Args:
        settings: see `KReciprocal`.

    Raises:
        InputError: on another type, or settings out of range.
    """
    check_type("rerank", settings, KReciprocal)
    for name in ("top", "k1", "k2"):
        check_count(f"{name} of re-ranking", getattr(settings, name), least=1)
    weight = settings.weight
    if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= weight <= 1:
        raise InputError(f"weight of re-ranking must lie in [0, 1], got {shown(weight)}")


def k_reciprocal(
    query: Embedded,
    gallery: Embedded,
    *,
    settings: KReciprocal | None = None,
    distance: Distance = "euclidean",
    progress: Callable[[int, int], None] | None = None,
) -> Reranking:
    """Re-ranks the first gallery items of each query by k-reciprocal encoding.

    ``d* = (1 - w) d_Jaccard + w d / max d`` with d the squared distance, Zhong et al., "Re-ranking
    Person Re-identification with k-reciprocal Encoding", CVPR 2017,
    https://arxiv.org/abs/1701.08398. Junk is left out; its encodings run over queries and gallery.

    Args:
        query: features [Q,D] floating point in the unit of the embedding, with identities and
            cameras [Q] (the cameras and the queries' identities are not used).
        gallery: the same with N items.
        settings: see `KReciprocal`.
        distance: "euclidean" or "cosine" (features are normalised first).
        progress: called with (rows done, all of them) while the neighbours are found; again for
            those that are looked for in float64, as in `match_ranks`.

    Returns:
        Reranking with T = min(settings.top, gallery items that are not junk).

    Raises:
        InputError: as `match_ranks` does, or on settings out of range.
    """
    check_sets(query, gallery, distance)
    check_progress(progress)
    settings = KReciprocal() if settings is None else settings
    check_settings(settings)
    dtype = common_dtype(query.features, gallery.features)
    with precision(dtype):
        sizes = (
            row_sizes(query.features, dtype, "query"),
            row_sizes(gallery.features, dtype, "gallery"),
        )
        frame = frame_of(gallery.features, retrievable(gallery.identities), sizes, distance, dtype)
    kept = np.flatnonzero(retrievable(gallery.identities))

    @cache
    def features(dtype: np.dtype) -> np.ndarray:
        return _features(query, gallery, kept, frame._replace(dtype=dtype))

    queries, count = query.features.shape[0], query.features.shape[0] + len(kept)
    width, everything = min(max(settings.k1 + 1, settings.k2), count), slice(None)
    neighbours = _surely_nearest(features, dtype, everything, everything, width, progress)
    encodings = _encodings(features(dtype), neighbours, settings)
    top = min(settings.top, len(kept))
    first = _surely_nearest(features, dtype, slice(queries), slice(queries, None), top)
    final = np.empty(first.distances.shape)
    for row, items in enumerate(first.indices):
        original = first.distances[row] / max(neighbours.furthest[row], _TINY)
        jaccard = _jaccard(encodings, row, queries + items)
        final[row] = (1 - settings.weight) * jaccard + settings.weight * original
    order = np.argsort(final, axis=1, kind="stable")
    return Reranking(
        indices=kept[np.take_along_axis(first.indices, order, axis=1)],
        distances=np.take_along_axis(final, order, axis=1),
    )


def reordered(
    ranks: MatchRanks, order: Reranking, query: Embedded, gallery: Embedded
) -> MatchRanks:
    """Ranks of the matches after the first items of each ranking were put in a new order.

    Args:
        ranks: ranks before, from `match_ranks`.
        order: new order of the first T items, from `k_reciprocal` with the same distance.
        query: identities and cameras [Q].
        gallery: identities and cameras [N].

    Returns:
        MatchRanks with ranks [Q,M], ascending; matches beyond the first T stay where they were.

    Raises:
        InputError: if they are not of one search: on other types, shapes or dtypes, positions that
            the gallery does not have, or an order that names an item twice or junk.
    """
    ranks, items_of, ids, cameras = _checked(ranks, order, query, gallery)
    same = ids[1][items_of] == ids[0][:, None]
    own_camera = cameras[1][items_of] == cameras[0][:, None]
    position = np.cumsum(~(same & own_camera), axis=1)
    new = np.array(ranks.ranks, np.int64)
    for row, items in enumerate(items_of):
        by_item = np.argsort(items)
        found = np.searchsorted(items[by_item], ranks.indices[row])
        found = by_item[np.minimum(found, len(items) - 1)]
        hit = ranks.mask[row] & (items[found] == ranks.indices[row])
        new[row, hit] = position[row, found[hit]]
    last = np.iinfo(np.int64).max
    resort = np.argsort(np.where(ranks.mask, new, last), axis=1, kind="stable")
    new, mask = (np.take_along_axis(x, resort, axis=1) for x in (new, ranks.mask))
    # Search and re-ranking round differently, and may disagree on who is the last of the first T:
    # a match that dropped out makes room for the one that came in.
    slots = np.arange(new.shape[1])
    new = np.maximum.accumulate(new - slots, axis=1) + slots
    return MatchRanks(
        new * mask,
        mask,
        np.take_along_axis(ranks.indices, resort, axis=1),
    )


def _checked(
    ranks: MatchRanks, order: Reranking, query: Embedded, gallery: Embedded
) -> tuple[MatchRanks, np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """What `reordered` takes, on the host: ranks, new order, identities and cameras of both."""
    sizes = Sizes()
    ids, cameras = [], []
    for name, part, letter in (("query", query, "Q"), ("gallery", gallery, "N")):
        fields_of(name, part, Embedded._fields, "an Embedded")
        ids.append(host_integers(f"{name}.identities", part.identities, letter, sizes))
        cameras.append(host_integers(f"{name}.cameras", part.cameras, letter, sizes))
    fields_of("ranks", ranks, MatchRanks._fields, "a MatchRanks")
    positions, mask = checked_ranks("ranks.", ranks.ranks, ranks.mask, sizes)
    matches = host_integers("ranks.indices", ranks.indices, "QM", sizes, least=0)
    fields_of("order", order, Reranking._fields, "a Reranking")
    items = host_integers("order.indices", order.indices, "QT", sizes, least=0)
    check_array("order.distances", order.distances, "QT", sizes)
    for name, found in (("ranks.indices", matches), ("order.indices", items)):
        if found.size and found.max() >= len(ids[1]):
            raise InputError(f"{name} must be below N={len(ids[1])}, got {found.max()}")
    if items.shape[1] == 0:
        raise InputError("order.indices must name at least one item for each query")
    if (np.diff(np.sort(items, axis=1), axis=1) == 0).any():
        raise InputError("order.indices must name an item once for each query")
    if (ids[1][items] == -1).any():
        raise InputError("order.indices must not name junk (identity -1)")
    return MatchRanks(positions, mask, matches), items, ids, cameras
