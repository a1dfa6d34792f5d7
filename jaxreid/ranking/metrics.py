"""Retrieval metrics, all computed from the ranks of the matches alone.

`ranks` [Q,M] holds, for each query, the 1-based positions of its matches among the items that take
part, ascending; `mask` [Q,M] is False in padding. Everything is float64 on the host: the arrays are
small, and means over queries should not lose digits.
"""

import numpy as np

from jaxreid.checks import Sizes, check_count
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import host_flags, host_integers
from jaxreid.types import ArrayLike

__all__ = [
    "MAX_RANK",
    "average_precision_sum",
    "average_precision_trapezoid",
    "checked_ranks",
    "cumulative_matching",
    "inverse_negative_penalty",
]


# Longest curve: 80 MB, more than any gallery needs.
MAX_RANK = 10_000_000


def checked_ranks(
    prefix: str, ranks: ArrayLike, mask: ArrayLike, sizes: Sizes | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Checks the ranks of matches, and brings them to the host.

    Args:
        prefix: of the arguments' names, for the message.
        ranks: [Q,M] integer, 1-based and ascending where the mask is True.
        mask: [Q,M] boolean, True first.
        sizes: what shape letters stand for so far.

    Returns:
        Both as NumPy arrays.

    Raises:
        InputError: on other shapes or dtypes, or ranks that do not ascend from 1 or more.
    """
    sizes = sizes or Sizes()
    positions = host_integers(f"{prefix}ranks", ranks, "QM", sizes)
    flags = host_flags(f"{prefix}mask", mask, "QM", sizes)
    if (flags[:, 1:] & ~flags[:, :-1]).any():
        raise InputError(f"{prefix}mask must be True first in every row, and False in padding")
    # Each rank against the one before it, and the first against none.
    if ((np.diff(positions.astype(np.int64), axis=1, prepend=0) < 1) & flags).any():
        raise InputError(f"{prefix}ranks must be 1 or more and ascend in every row")
    return positions, flags


def _precision(
    ranks: ArrayLike, mask: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Matches found j [M], safe ranks [Q,M], their mask [Q,M] and the number of matches [Q]."""
    ranks, mask = checked_ranks("", ranks, mask)
    found = np.arange(1, ranks.shape[1] + 1, dtype=np.float64)
    return found, np.where(mask, ranks, 1).astype(np.float64), mask, mask.sum(axis=1)


def average_precision_sum(ranks: ArrayLike, mask: ArrayLike) -> np.ndarray:
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


def average_precision_trapezoid(ranks: ArrayLike, mask: ArrayLike) -> np.ndarray:
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


def inverse_negative_penalty(ranks: ArrayLike, mask: ArrayLike) -> np.ndarray:
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
    ranks, mask = checked_ranks("", ranks, mask)
    hardest = np.max(np.where(mask, ranks, 0), axis=1, initial=0)
    return mask.sum(axis=1) / np.maximum(hardest, 1).astype(np.float64)


def cumulative_matching(first_ranks: ArrayLike, *, max_rank: int, queries: int) -> np.ndarray:
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
