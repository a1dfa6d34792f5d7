"""Retrieval metrics, all computed from the ranks of the matches alone.

`ranks` [Q,M] holds, for each query, the 1-based positions of its matches among the items that take
part, ascending; `mask` [Q,M] is False in padding. Everything is float64 on the host: the arrays are
small, and means over queries should not lose digits.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxreid.checks import check_count
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import host_integers, host_ranks
from jaxreid.types import ArrayLike

__all__ = [
    "MAX_RANK",
    "average_precision_sum",
    "average_precision_trapezoid",
    "cumulative_matching",
    "inverse_negative_penalty",
]

Ranks = Integer[ArrayLike, "Q M"]
Mask = Bool[ArrayLike, "Q M"]
PerQuery = Float[np.ndarray, " Q"]

# Longest curve: 80 MB, more than any gallery needs.
MAX_RANK = 10_000_000


def _precision(
    ranks: Ranks, mask: Mask
) -> tuple[
    Float[np.ndarray, " M"],
    Float[np.ndarray, "Q M"],
    Bool[np.ndarray, "Q M"],
    Integer[np.ndarray, " Q"],
]:
    """Matches found j, safe ranks, their mask and the number of matches."""
    ranks, mask = host_ranks("", ranks, mask)
    found = np.arange(1, ranks.shape[1] + 1, dtype=np.float64)
    return found, np.where(mask, ranks, 1).astype(np.float64), mask, mask.sum(axis=1)


def average_precision_sum(ranks: Ranks, mask: Mask) -> PerQuery:
    """Average precision as the mean of the precisions at the matches, ``1/M sum_j j / r_j``.

    This is torchreid's (https://arxiv.org/abs/1910.10093) and most retrieval papers' convention.

    Args:
        ranks: [Q,M] integer ranks of the matches, 1-based, ascending.
        mask: [Q,M] boolean.

    Returns:
        [Q] float64 in [0, 1]; 0 for a query without a match.

    Raises:
        InputError: on other shapes or dtypes, or ranks that do not ascend from 1 or more.
    """
    found, safe, mask, matches = _precision(ranks, mask)
    return np.sum(found / safe * mask, axis=1) / np.maximum(matches, 1)


def average_precision_trapezoid(ranks: Ranks, mask: Mask) -> PerQuery:
    """Average precision as the area under the precision-recall curve by the trapezoid rule.

    ``1/M sum_j (p_before + j / r_j) / 2`` with ``p_before = (j - 1) / (r_j - 1)``, or 1 at rank 1:
    the convention of Market-1501's authors (ICCV 2015, https://doi.org/10.1109/ICCV.2015.133).
    A single match not at rank 1 counts half of what it counts in `average_precision_sum`.

    Args:
        ranks: [Q,M] integer ranks of the matches, 1-based, ascending.
        mask: [Q,M] boolean.

    Returns:
        [Q] float64 in [0, 1]; 0 for a query without a match.

    Raises:
        InputError: on other shapes or dtypes, or ranks that do not ascend from 1 or more.
    """
    found, safe, mask, matches = _precision(ranks, mask)
    before = np.where(safe == 1, 1, (found - 1) / np.maximum(safe - 1, 1))
    return np.sum((before + found / safe) / 2 * mask, axis=1) / np.maximum(matches, 1)


def inverse_negative_penalty(ranks: Ranks, mask: Mask) -> PerQuery:
    """Share of matches among the items down to the hardest match, ``M / r_M``.

    Its mean is mINP: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook",
    https://arxiv.org/abs/2001.04193.

    Args:
        ranks: [Q,M] integer ranks of the matches, 1-based, ascending.
        mask: [Q,M] boolean.

    Returns:
        [Q] float64 in [0, 1]; 0 for a query without a match.

    Raises:
        InputError: on other shapes or dtypes, or ranks that do not ascend from 1 or more.
    """
    ranks, mask = host_ranks("", ranks, mask)
    hardest = np.max(np.where(mask, ranks, 0), axis=1, initial=0)
    return mask.sum(axis=1) / np.maximum(hardest, 1).astype(np.float64)


def cumulative_matching(
    first_ranks: Integer[ArrayLike, " Q"], *, max_rank: int, queries: int
) -> Float[np.ndarray, " R"]:
    """Cumulative matching characteristic, ``CMC(k) = share of queries with a match in the top k``.

    Args:
        first_ranks: [Q] integer rank of each query's first match, 0 where there is none.
        max_rank: the largest k, at most 10,000,000.
        queries: how many queries to divide by (all, or those that have a match), at least 1.

    Returns:
        [max_rank] float64 in [0, 1], not falling; entry k-1 is CMC(k), often called rank-k.

    Raises:
        InputError: on other shapes or dtypes, negative ranks, numbers out of range, or fewer
            queries than have a match.
    """
    first = host_integers("first_ranks", first_ranks, "Q", least=0).astype(np.int64)
    max_rank = check_count("max_rank", max_rank, least=1, most=MAX_RANK)
    matched = int((first > 0).sum())
    queries = check_count("queries", queries, least=1)
    if queries < matched:
        raise InputError(f"queries must be at least {matched}, the queries that have a match")
    hits = first[(first > 0) & (first <= max_rank)]
    return np.cumsum(np.bincount(hits - 1, minlength=max_rank)) / queries
