"""Exact ranking: evaluation protocols, ranks of the matches, and retrieval metrics."""

from jaxreid.ranking.metrics import (
    average_precision_sum,
    average_precision_trapezoid,
    cumulative_matching,
    inverse_negative_penalty,
)
from jaxreid.ranking.neighbours import top_items
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

__all__ = [
    "PROTOCOLS",
    "KReciprocal",
    "MatchRanks",
    "Matches",
    "Protocol",
    "RankingMetrics",
    "Reranking",
    "average_precision_sum",
    "average_precision_trapezoid",
    "cross_camera_matches",
    "cumulative_matching",
    "evaluate",
    "inverse_negative_penalty",
    "k_reciprocal",
    "match_ranks",
    "reordered",
    "retrievable",
    "summarize",
    "top_items",
]
