"""k-reciprocal re-ranking of the first items of each ranking, in bounded memory.

Neighbour lists are found block by block, and the k-reciprocal encodings are sparse: nothing of
size (queries + gallery)^2 is ever held.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from jaxreid.distances import l2_normalize, pairwise_squared_euclidean
from jaxreid.errors import InputError
from jaxreid.ranking.protocol import retrievable
from jaxreid.ranking.scores import Distance, row_terms
from jaxreid.ranking.search import MatchRanks, check_sets
from jaxreid.types import Array, Embedded

__all__ = ["KReciprocal", "Reranking", "k_reciprocal", "reordered"]

# 1,024 x 8,192 distances are 32 MB.
_ROWS, _COLUMNS = 1024, 8192
# Pairs of features gathered at a time; 16,384 x 2,048 x 4 bytes are 134 MB.
_PAIRS = 16_384


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
        new = pairwise_squared_euclidean(rows, features)
        here = positions < count
        furthest = jnp.maximum(furthest, jnp.max(jnp.where(here, new, 0), axis=1))
        everything = jnp.concatenate([distances, jnp.where(here, new, jnp.inf)], axis=1)
        # top_k prefers the first of equals, and earlier blocks come first: ties go by index.
        closeness, chosen = jax.lax.top_k(-everything, k)
        held = jnp.take_along_axis(indices, jnp.minimum(chosen, k - 1), axis=1)
        names = jnp.where(chosen < k, held, positions[0] + chosen - k)
        return (-closeness, names, furthest), None

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
    rows: np.ndarray, items: np.ndarray, k: int, progress: Callable[[int, int], None] | None = None
) -> _Neighbours:
    """The k nearest items of every row, by squared Euclidean distance."""
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
    return _Neighbours(indices, distances, furthest)


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
    weights = np.exp(-weights / np.maximum(neighbours.furthest[rows], np.finfo(np.float32).tiny))
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
        progress: called with (rows done, all of them) while the neighbours are found.

    Returns:
        Reranking with T = min(settings.top, gallery items that are not junk).

    Raises:
        InputError: as `match_ranks` does, or on settings out of range.
    """
    check_sets(query, gallery, distance)
    settings = settings or KReciprocal()
    if min(settings.top, settings.k1, settings.k2) < 1 or not 0 <= settings.weight <= 1:
        raise InputError(f"re-ranking needs top, k1, k2 >= 1 and weight in [0, 1], got {settings}")
    for name, part in (("query", query), ("gallery", gallery)):
        row_terms(part.features, np.dtype(np.float32), distance, name)  # refuses NaN
    kept = np.flatnonzero(retrievable(gallery.identities))
    features = np.concatenate([np.asarray(query.features), np.asarray(gallery.features)[kept]])
    features = features.astype(np.float32, copy=False)
    if distance == "cosine":
        features = np.asarray(l2_normalize(jnp.asarray(features)))
    queries = query.features.shape[0]
    width = min(max(settings.k1 + 1, settings.k2), len(features))
    neighbours = _nearest(features, features, width, progress)
    encodings = _encodings(features, neighbours, settings)
    first = _nearest(features[:queries], features[queries:], min(settings.top, len(kept)))
    final = np.empty(first.distances.shape)
    for row, items in enumerate(first.indices):
        original = first.distances[row] / max(neighbours.furthest[row], np.finfo(np.float32).tiny)
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
    """
    query_ids, query_cameras = np.asarray(query.identities), np.asarray(query.cameras)
    same = np.asarray(gallery.identities)[order.indices] == query_ids[:, None]
    own_camera = np.asarray(gallery.cameras)[order.indices] == query_cameras[:, None]
    position = np.cumsum(~(same & own_camera), axis=1)
    new = np.array(ranks.ranks)
    for row, items in enumerate(order.indices):
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
