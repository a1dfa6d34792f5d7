"""From features to the figures of a record: both protocols, re-ranked or not."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.constants import Distance, ProtocolName
from jaxreid.ranking import KReciprocal, MatchRanks, k_reciprocal, match_ranks, reordered, summarize
from jaxreid.ranking.frames import Frame, embedded_rows
from jaxreid.records import PerQuery, Score
from jaxreid.types import Embedded

__all__ = ["Scored", "score", "top_items"]

_PROTOCOLS: tuple[ProtocolName, ...] = ("market1501", "torchreid")
_MAX_RANK = 10
# Gallery items whose distances are taken at a time.
_BLOCK = 1024


class Scored(NamedTuple):
    """What a ranking is worth.

    Attributes:
        scores: protocol -> Score.
        reranked: the same after re-ranking, or None.
        per_query: before re-ranking.
    """

    scores: dict[str, Score]
    reranked: dict[str, Score] | None
    per_query: PerQuery


def score(
    query: Embedded,
    gallery: Embedded,
    *,
    distance: Distance,
    rerank: KReciprocal | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Scored:
    """Ranks the gallery for every query, once for both protocols.

    Args:
        query: features [Q,D], identities and cameras [Q].
        gallery: features [N,D], identities and cameras [N].
        distance: "euclidean" or "cosine".
        rerank: settings of k-reciprocal re-ranking; None for none.
        devices: where to rank; all local devices by default.

    Returns:
        Scored.

    Raises:
        InputError: as `match_ranks` does.
    """
    ranks = match_ranks(query, gallery, distance=distance, devices=devices)
    reranked = None
    if rerank is not None:
        order = k_reciprocal(query, gallery, settings=rerank, distance=distance)
        reranked = _scores(reordered(ranks, order, query, gallery))
    market, torchreid = (summarize(ranks, protocol=name) for name in _PROTOCOLS)
    per_query = PerQuery(
        identities=np.asarray(query.identities),
        cameras=np.asarray(query.cameras),
        valid=market.valid,
        first_match_rank=market.first_match_rank,
        market1501=market.average_precision,
        torchreid=torchreid.average_precision,
    )
    return Scored(_scores(ranks), reranked, per_query)


def _scores(ranks: MatchRanks) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for name in _PROTOCOLS:
        found = summarize(ranks, protocol=name, max_rank=_MAX_RANK)
        scores[name] = Score(
            found.mean_average_precision,
            found.rank(1),
            found.rank(5),
            found.rank(10),
            found.mean_inverse_negative_penalty,
        )
    return scores


def top_items(
    query: Embedded, gallery: Embedded, *, count: int, distance: Distance
) -> tuple[np.ndarray, np.ndarray]:
    """The first items of the rankings of a few queries, as the protocol sees them.

    Junk is left out, and so are images of the query's identity from the query's camera.

    Args:
        query: features [E,D], identities and cameras [E]; few, for all distances are held.
        gallery: features [N,D], identities and cameras [N].
        count: items of each list.
        distance: "euclidean" or "cosine".

    Returns:
        Positions in the gallery [E,K] int64 and distances [E,K] float32 in the unit of the
        distance; K is count, or fewer if a query has fewer items to rank.
    """
    distances = _distances(query, gallery, distance)
    identities, cameras = (np.asarray(x) for x in (gallery.identities, gallery.cameras))
    same = identities == np.asarray(query.identities)[:, None]
    left_out = (identities == -1) | (same & (cameras == np.asarray(query.cameras)[:, None]))
    distances[left_out] = np.inf
    width = min(count, int((~left_out).sum(axis=1).min()))
    first = np.argsort(distances, axis=1, kind="stable")[:, :width]
    return first, np.take_along_axis(distances, first, axis=1)


def _distances(query: Embedded, gallery: Embedded, distance: Distance) -> np.ndarray:
    """Distances [E,N] float32 from differences: right wherever the features lie."""
    frame = Frame(distance, np.dtype(np.float64), scaled=distance == "cosine")
    queries, items = np.asarray(query.features), gallery.features
    squared = np.empty((len(queries), len(items)))
    for start in range(0, len(items), _BLOCK):
        part = embedded_rows(np.asarray(items[start : start + _BLOCK]), frame)
        for row, found in enumerate(embedded_rows(queries, frame)):
            squared[row, start : start + len(part)] = np.square(part - found).sum(axis=1)
    if distance == "euclidean":
        return np.sqrt(squared).astype(np.float32)
    zero = ~np.any(queries, axis=1)[:, None] | ~np.any(np.asarray(items), axis=1)
    return np.where(zero, 1, squared / 2).astype(np.float32)
