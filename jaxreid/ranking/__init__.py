"""Exact ranking: evaluation protocols, ranks of the matches, and retrieval metrics."""

from jaxreid.ranking.impersonation import impersonation_ranks
from jaxreid.ranking.metrics import (
    average_precision_sum,
    average_precision_trapezoid,
    cumulative_matching,
    inverse_negative_penalty,
)
from jaxreid.ranking.neighbours import top_items
from jaxreid.ranking.pairs import (
    PairDistances,
    pair_distances,
    search_pairs,
)
from jaxreid.ranking.protocol import (
    PROTOCOLS,
    Matches,
    MatchRanks,
    Protocol,
    RankingMetrics,
    cross_camera_matches,
    retrievable,
    summarize,
)
from jaxreid.ranking.reranking import KReciprocal, Reranking, k_reciprocal, reordered
from jaxreid.ranking.search import evaluate, match_ranks
from jaxreid.ranking.verification import (
    Roc,
    equal_error_rate,
    roc,
    threshold_at,
    true_accept_at,
)

__all__ = [
    "PROTOCOLS",
    "KReciprocal",
    "MatchRanks",
    "Matches",
    "PairDistances",
    "Protocol",
    "RankingMetrics",
    "Reranking",
    "Roc",
    "average_precision_sum",
    "average_precision_trapezoid",
    "cross_camera_matches",
    "cumulative_matching",
    "equal_error_rate",
    "evaluate",
    "impersonation_ranks",
    "inverse_negative_penalty",
    "k_reciprocal",
    "match_ranks",
    "pair_distances",
    "reordered",
    "retrievable",
    "roc",
    "search_pairs",
    "summarize",
    "threshold_at",
    "top_items",
    "true_accept_at",
]
