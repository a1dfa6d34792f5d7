"""Retrieval metrics, all computed from the ranks of the matches alone.

`ranks` [Q,M] holds, for each query, the 1-based positions of its matches among the items that take
part, ascending; `mask` [Q,M] is False in padding. Everything is float64 on the host: the arrays are
small, and means over queries should not lose digits.
"""

import numpy as np

__all__ = [
    "average_precision_sum",
    "average_precision_trapezoid",
    "cumulative_matching",
    "inverse_negative_penalty",
]


def _precision(ranks: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of matches found j [M], safe ranks [Q,M], and the number of matches [Q]."""
    found = np.arange(1, ranks.shape[1] + 1, dtype=np.float64)
    return found, np.where(mask, ranks, 1).astype(np.float64), mask.sum(axis=1)


def average_precision_sum(ranks: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Average precision as the mean of the precisions at the matches, ``1/M sum_j j / r_j``.

    This is torchreid's (https://arxiv.org/abs/1910.10093) and most retrieval papers' convention.

    Args:
        ranks: [Q,M] integer ranks of the matches, 1-based, ascending.
        mask: [Q,M] boolean.

    Returns:
        [Q] float64 in [0, 1]; 0 for a query without a match.
    """
    found, safe, matches = _precision(ranks, mask)
    return np.sum(found / safe * mask, axis=1) / np.maximum(matches, 1)


def average_precision_trapezoid(ranks: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Average precision as the area under the precision-recall curve by the trapezoid rule.

    ``1/M sum_j (p_before + j / r_j) / 2`` with ``p_before = (j - 1) / (r_j - 1)``, or 1 at rank 1:
    the convention of Market-1501's authors (ICCV 2015, https://doi.org/10.1109/ICCV.2015.133).
    A single match not at rank 1 counts half of what it counts in `average_precision_sum`.

    Args:
        ranks: [Q,M] integer ranks of the matches, 1-based, ascending.
        mask: [Q,M] boolean.

    Returns:
        [Q] float64 in [0, 1]; 0 for a query without a match.
    """
    found, safe, matches = _precision(ranks, mask)
    before = np.where(safe == 1, 1, (found - 1) / np.maximum(safe - 1, 1))
    return np.sum((before + found / safe) / 2 * mask, axis=1) / np.maximum(matches, 1)


def inverse_negative_penalty(ranks: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share of matches among the items down to the hardest match, ``M / r_M``.

    Its mean is mINP: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook",
    https://arxiv.org/abs/2001.04193.

    Args:
        ranks: [Q,M] integer ranks of the matches, 1-based, ascending.
        mask: [Q,M] boolean.

    Returns:
        [Q] float64 in [0, 1]; 0 for a query without a match.
    """
    hardest = np.max(ranks * mask, axis=1)
    return mask.sum(axis=1) / np.maximum(hardest, 1).astype(np.float64)


def cumulative_matching(first_ranks: np.ndarray, *, max_rank: int, queries: float) -> np.ndarray:
    """Cumulative matching characteristic, ``CMC(k) = share of queries with a match in the top k``.

    Args:
        first_ranks: [Q] integer rank of each query's first match, 0 where there is none.
        max_rank: the largest k.
        queries: how many queries to divide by (all, or those that have a match).

    Returns:
        [max_rank] float64 in [0, 1], not falling; entry k-1 is CMC(k), often called rank-k. NaN
        where there is no query to divide by.
    """
    hits = first_ranks[(first_ranks > 0) & (first_ranks <= max_rank)]
    return np.cumsum(np.bincount(hits - 1, minlength=max_rank)) / (queries or np.nan)
