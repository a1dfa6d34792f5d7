"""k-reciprocal re-ranking of the first items of each ranking, in bounded memory.

Neighbour lists are found block by block, and the k-reciprocal encodings are sparse: nothing of
size (queries + gallery)^2 is ever held.
"""

from functools import cache
from numbers import Real
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from jaxreid.checks import Sizes, check_count, shown
from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import (
    Progress,
    check_array,
    check_fields,
    check_progress,
    check_sets,
    check_type,
    host_integers,
    host_ranks,
)
from jaxreid.ranking.frames import Frame, embedded_rows, frame_of_search
from jaxreid.ranking.neighbours import Neighbours, nearest
from jaxreid.ranking.protocol import MatchRanks, retrievable
from jaxreid.types import Embedded

__all__ = ["KReciprocal", "Reranking", "check_settings", "k_reciprocal", "reordered"]

# Rows of features that are brought into a frame at a time.
_ROWS = 1024
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

    indices: Int[np.ndarray, "Q T"]
    distances: Float[np.ndarray, "Q T"]


def _features(
    query: Embedded, gallery: Embedded, kept: Int[np.ndarray, " N"], frame: Frame
) -> Float[np.ndarray, "all D"]:
    """Features of the queries, and after them of the gallery items that take part."""
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


def _reciprocal(indices: Int[np.ndarray, "n k"]) -> sparse.csr_matrix:
    """Boolean [n,n]: j is among the neighbours of i, and i among those of j."""
    n, k = indices.shape
    rows = np.repeat(np.arange(n), k)
    near = sparse.csr_matrix((np.ones(n * k, np.float32), (rows, indices.ravel())), shape=(n, n))
    return near.multiply(near.T).tocsr()


def _expanded(indices: Int[np.ndarray, "n k"], k1: int) -> sparse.csr_matrix:
    """k-reciprocal sets, joined with the half-size sets of members that overlap by 2/3."""
    base = _reciprocal(indices[:, : k1 + 1])
    half = _reciprocal(indices[:, : int(np.around(k1 / 2)) + 1])
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
    features: Float[np.ndarray, "n D"], neighbours: Neighbours, settings: KReciprocal
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


def _jaccard(
    encodings: sparse.csr_matrix, query: int, items: Int[np.ndarray, " T"]
) -> Float[np.ndarray, " T"]:
    """Jaccard distance between the encodings of one row and of some items."""
    own = np.zeros(encodings.shape[1])
    row = encodings[query]
    own[row.indices] = row.data
    others = encodings[items]
    shared = np.minimum(others.data, own[others.indices])
    owner = np.repeat(np.arange(len(items)), np.diff(others.indptr))
    overlap = np.bincount(owner, shared, minlength=len(items))
    return 1 - overlap / (2 - overlap)


def check_settings(settings: KReciprocal) -> None:
    """Checks that the settings of re-ranking are KReciprocal, and in range."""
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
    progress: Progress | None = None,
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
    takes_part = retrievable(gallery.identities)
    frame, _ = frame_of_search(query, gallery, takes_part, distance)
    kept = np.flatnonzero(takes_part)

    @cache
    def features(dtype: np.dtype) -> Float[np.ndarray, "all D"]:
        return _features(query, gallery, kept, frame._replace(dtype=dtype))

    queries, count = query.features.shape[0], query.features.shape[0] + len(kept)
    width, everything = min(max(settings.k1 + 1, settings.k2), count), slice(None)
    neighbours = nearest(features, frame.dtype, everything, everything, width, progress)
    encodings = _encodings(features(frame.dtype), neighbours, settings)
    top = min(settings.top, len(kept))
    first = nearest(features, frame.dtype, slice(queries), slice(queries, None), top)
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
) -> tuple[MatchRanks, Int[np.ndarray, "Q T"], list[np.ndarray], list[np.ndarray]]:
    """What `reordered` takes, on the host: ranks, new order, identities and cameras of both."""
    sizes = Sizes()
    ids, cameras = [], []
    for name, part, letter in (("query", query, "Q"), ("gallery", gallery, "N")):
        check_fields(name, part, Embedded._fields, "an Embedded")
        ids.append(host_integers(f"{name}.identities", part.identities, letter, sizes))
        cameras.append(host_integers(f"{name}.cameras", part.cameras, letter, sizes))
    check_fields("ranks", ranks, MatchRanks._fields, "a MatchRanks")
    positions, mask = host_ranks("ranks.", ranks.ranks, ranks.mask, sizes)
    matches = host_integers("ranks.indices", ranks.indices, "QM", sizes, least=0)
    check_fields("order", order, Reranking._fields, "a Reranking")
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
