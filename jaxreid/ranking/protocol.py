"""Evaluation protocols: which items and queries count, and the metrics made of ranks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from jaxreid.checks import Sizes, check_choice, check_count
from jaxreid.constants import ProtocolName
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_fields, host_integers, host_ranks
from jaxreid.ranking.metrics import (
    MAX_RANK,
    average_precision_sum,
    average_precision_trapezoid,
    cumulative_matching,
    inverse_negative_penalty,
)
from jaxreid.types import ArrayLike

__all__ = [
    "PROTOCOLS",
    "MatchRanks",
    "Matches",
    "Protocol",
    "RankingMetrics",
    "check_report",
    "cross_camera_matches",
    "in_order",
    "retrievable",
    "summarize",
]


class Protocol(NamedTuple):
    """A way to turn ranks into one number.

    Attributes:
        average_precision: (ranks [Q,M], mask [Q,M]) -> average precision [Q] in [0, 1].
        counts_all: whether means run over all queries (those without a match count 0) or over the
            queries that have a match.
    """

    average_precision: Callable[
        [Int[np.ndarray, "Q M"], Bool[np.ndarray, "Q M"]], Float[np.ndarray, " Q"]
    ]
    counts_all: bool


PROTOCOLS = {
    "market1501": Protocol(average_precision_trapezoid, counts_all=True),
    "torchreid": Protocol(average_precision_sum, counts_all=False),
}


class Matches(NamedTuple):
    """The gallery items each query should find.

    Attributes:
        indices: [Q,M] int64 positions in the gallery, ascending; 0 where the mask is False.
        mask: [Q,M] boolean; True comes first.
    """

    indices: Int[np.ndarray, "Q M"]
    mask: Bool[np.ndarray, "Q M"]


class MatchRanks(NamedTuple):
    """Where the matches of each query stand.

    Attributes:
        ranks: [Q,M] int64, 1-based among the items that take part, ascending; 0 in padding.
        mask: [Q,M] boolean; False in padding.
        indices: [Q,M] int64 positions of the matches in the gallery, in the order of `ranks`.
    """

    ranks: Int[np.ndarray, "Q M"]
    mask: Bool[np.ndarray, "Q M"]
    indices: Int[np.ndarray, "Q M"]


def retrievable(gallery_identities: Integer[ArrayLike, " N"]) -> Bool[np.ndarray, " N"]:
    """Which gallery items take part at all: everything but junk (identity -1).

    Distractors (identity 0) take part: they are wrong answers. Images of the query's identity from
    the query's camera take no part in that query only; see `cross_camera_matches`.

    Args:
        gallery_identities: [N] integer.

    Returns:
        [N] boolean.

    Raises:
        InputError: on another shape or dtype.
    """
    return host_integers("gallery_identities", gallery_identities, "N") != -1


def cross_camera_matches(
    query_identities: Integer[ArrayLike, " Q"],
    query_cameras: Integer[ArrayLike, " Q"],
    gallery_identities: Integer[ArrayLike, " N"],
    gallery_cameras: Integer[ArrayLike, " N"],
) -> Matches:
    """Gallery items with the query's identity, seen by another camera.

    Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015,
    https://doi.org/10.1109/ICCV.2015.133.

    Args:
        query_identities: [Q] integer; 0 and -1 have no matches.
        query_cameras: [Q] integer.
        gallery_identities: [N] integer.
        gallery_cameras: [N] integer.

    Returns:
        Matches with indices [Q,M] and mask [Q,M]; M is the most matches of any query (at least 1).

    Raises:
        InputError: on other shapes or dtypes, or if there is no query or no gallery item.
    """
    sizes = Sizes()
    identities = host_integers("query_identities", query_identities, "Q", sizes)
    cameras = host_integers("query_cameras", query_cameras, "Q", sizes)
    others = host_integers("gallery_identities", gallery_identities, "N", sizes)
    other_cameras = host_integers("gallery_cameras", gallery_cameras, "N", sizes)
    if not len(identities) or not len(others):
        raise InputError("expected at least one query and one gallery item")
    order = np.argsort(others, kind="stable")
    start = np.searchsorted(others[order], identities, side="left")
    end = np.searchsorted(others[order], identities, side="right")
    end = np.where(identities > 0, end, start)

    slots = start[:, None] + np.arange(max(int((end - start).max()), 1))
    same = slots < end[:, None]
    items = order[np.minimum(slots, len(order) - 1)]
    mask = same & (other_cameras[items] != cameras[:, None])
    first = np.argsort(~mask, axis=1, kind="stable")[:, : max(int(mask.sum(axis=1).max()), 1)]
    mask = np.take_along_axis(mask, first, axis=1)
    return Matches(np.take_along_axis(items, first, axis=1) * mask, mask)


def in_order(
    matches: Matches, scores: Float[np.ndarray, "Q M"], before: Int[np.ndarray, "Q M"]
) -> MatchRanks:
    """Ranks of the matches, of which those of smaller scores come before each other, too.

    Args:
        matches: of the search.
        scores: [Q,M], comparable within a row; meaningless in padding.
        before: [Q,M] integer, items of other identities that come before each match; likewise.

    Returns:
        MatchRanks.
    """
    # Indices ascend within a row, so a stable sort breaks ties by gallery index.
    order = np.argsort(np.where(matches.mask, scores, np.inf), axis=1, kind="stable")
    mask = np.take_along_axis(matches.mask, order, axis=1)
    ranks = np.take_along_axis(before, order, axis=1) + np.arange(1, mask.shape[1] + 1)
    return MatchRanks(ranks * mask, mask, np.take_along_axis(matches.indices, order, axis=1))


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

    protocol: ProtocolName
    mean_average_precision: float
    cumulative_matching: Float[np.ndarray, " R"]
    mean_inverse_negative_penalty: float
    average_precision: Float[np.ndarray, " Q"]
    first_match_rank: Int[np.ndarray, " Q"]
    valid: Bool[np.ndarray, " Q"]

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
    check_report(protocol, max_rank)
    check_fields("ranks", ranks, MatchRanks._fields, "a MatchRanks")
    positions, mask = host_ranks("ranks.", ranks.ranks, ranks.mask)
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


def check_report(protocol: str, max_rank: int) -> None:
    """Checks the protocol and the length of the CMC curve that `summarize` is to use."""
    check_choice("protocol", protocol, PROTOCOLS)
    check_count("max_rank", max_rank, least=1, most=MAX_RANK)
