"""From features to the metrics of a record: both protocols, re-ranked or not."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.constants import Distance, ProtocolName
from jaxreid.ranking import KReciprocal, MatchRanks, k_reciprocal, match_ranks, reordered, summarize
from jaxreid.records import PerQuery, Score
from jaxreid.types import Embedded

__all__ = ["Scored", "score"]

_PROTOCOLS: tuple[ProtocolName, ...] = ("market1501", "torchreid")
_MAX_RANK = 10


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
