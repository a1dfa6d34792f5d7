"""From ranks to the numbers of a report."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxreid.checks import check_choice, check_count
from jaxreid.constants import Distance, ProtocolName
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import fields_of
from jaxreid.ranking.metrics import (
    MAX_RANK,
    checked_ranks,
    cumulative_matching,
    inverse_negative_penalty,
)
from jaxreid.ranking.protocol import PROTOCOLS
from jaxreid.ranking.reranking import KReciprocal, check_settings, k_reciprocal, reordered
from jaxreid.ranking.search import MatchRanks, match_ranks
from jaxreid.types import Embedded

__all__ = ["RankingMetrics", "evaluate", "summarize"]


class RankingMetrics(NamedTuple):
    """Retrieval metrics of a query set, per query and in the mean.

    Attributes:
        protocol: the convention the means follow.
        mean_average_precision: in [0, 1].
        cumulative_matching: [R] in [0, 1]; entry k-1 is rank-k.
        mean_inverse_negative_penalty: in [0, 1], mINP.
        average_precision: [Q] in [0, 1].
        first_match_rank: [Q] int64, 1-based; 0 for a query without a match.
        valid: [Q] boolean, whether the query has a match in the gallery.
    """

    protocol: str
    mean_average_precision: float
    cumulative_matching: np.ndarray
    mean_inverse_negative_penalty: float
    average_precision: np.ndarray
    first_match_rank: np.ndarray
    valid: np.ndarray

    def rank(self, k: int) -> float:
        """Share of queries with a match among the first k.

        Args:
            k: 1-based, at most the length of `cumulative_matching`.

        Returns:
            A number in [0, 1].

        Raises:
            InputError: if k is not on the curve.
        """
        longest = len(self.cumulative_matching)
        check_count("k", k, least=-(2**63), most=2**63)
        if not 1 <= k <= longest:
            raise InputError(f"k must lie in 1..{longest}, the length of the curve, got {k}")
        return float(self.cumulative_matching[k - 1])


def summarize(
    ranks: MatchRanks, *, protocol: ProtocolName = "market1501", max_rank: int = 50
) -> RankingMetrics:
    """Metrics from ranks; one search serves both protocols.

    Args:
        ranks: what `match_ranks` returns.
        protocol: "market1501" (trapezoid AP, means over all queries) or "torchreid" (AP as the sum
            of precisions, means over the queries that have a match).
        max_rank: length of the CMC curve.

    Returns:
        RankingMetrics.

    Raises:
        InputError: on an unknown protocol, max_rank below 1, ranks that are none, or if no query
            has a match: a mean over nothing is not 0.
    """
    _check_report(protocol, max_rank)
    fields_of("ranks", ranks, MatchRanks._fields, "a MatchRanks")
    positions, mask = checked_ranks("ranks.", ranks.ranks, ranks.mask)
    rules = PROTOCOLS[protocol]
    valid = np.any(mask, axis=1)
    if not valid.any():
        raise InputError(
            "no query has a match, so there is nothing to average: a match is a gallery item of "
            "the query's identity (above 0) from another camera; without camera labels, number "
            "the cameras so that query and gallery differ"
        )
    queries = len(valid) if rules.counts_all else int(valid.sum())
    precision = rules.average_precision(positions, mask)
    first = np.where(mask[:, 0], positions[:, 0], 0).astype(np.int64)
    return RankingMetrics(
        protocol=protocol,
        mean_average_precision=float(precision.sum() / queries),
        cumulative_matching=cumulative_matching(first, max_rank=max_rank, queries=queries),
        mean_inverse_negative_penalty=float(
            inverse_negative_penalty(positions, mask).sum() / queries
        ),
        average_precision=precision,
        first_match_rank=first,
        valid=valid,
    )


def _check_report(protocol: str, max_rank: int) -> None:
    check_choice("protocol", protocol, PROTOCOLS)
    check_count("max_rank", max_rank, least=1, most=MAX_RANK)


def evaluate(
    query: Embedded,
    gallery: Embedded,
    *,
    protocol: ProtocolName = "market1501",
    distance: Distance = "euclidean",
    block_size: int = 1024,
    max_rank: int = 50,
    rerank: KReciprocal | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        block_size: gallery items per device and step; bounds the memory, changes no result.
        max_rank: length of the CMC curve.
        rerank: settings of k-reciprocal re-ranking, applied to the first items of each ranking.
        devices: where to run; all local devices by default.
        progress: called with (items done, all of them).

    Returns:
        RankingMetrics.

    Raises:
        InputError: as `match_ranks` and `summarize` do.
    """
    _check_report(protocol, max_rank)
    if rerank is not None:
        check_settings(rerank)
    ranks = match_ranks(
        query,
        gallery,
        distance=distance,
        block_size=block_size,
        devices=devices,
        progress=progress,
    )
    if rerank is not None:
        order = k_reciprocal(query, gallery, settings=rerank, distance=distance, progress=progress)
        ranks = reordered(ranks, order, query, gallery)
    return summarize(ranks, protocol=protocol, max_rank=max_rank)
