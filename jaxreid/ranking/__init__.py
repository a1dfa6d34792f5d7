"""Exact ranking: evaluation protocols, ranks of the matches, and retrieval metrics."""

from jaxreid.ranking.lists import ListDistances, SearchLists, list_distances, search_lists
from jaxreid.ranking.metrics import (
    average_precision_sum,
    average_precision_trapezoid,
    cumulative_matching,
    inverse_negative_penalty,
)
from jaxreid.ranking.neighbours import top_items
from jaxreid.ranking.people import TargetPeople, images_of, target_people, toward
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
from jaxreid.ranking.standings import Standing, standing
from jaxreid.ranking.surrogates import (
    log_intruders,
    margin,
    nearest_others,
    opposite_means,
    scaled_margin,
    smooth_ap,
    soft_margin,
    temperature_of,
)

__all__ = [
    "PROTOCOLS",
    "KReciprocal",
    "ListDistances",
    "MatchRanks",
    "Matches",
    "Protocol",
    "RankingMetrics",
    "Reranking",
    "SearchLists",
    "Standing",
    "TargetPeople",
    "average_precision_sum",
    "average_precision_trapezoid",
    "cross_camera_matches",
    "cumulative_matching",
    "evaluate",
    "images_of",
    "inverse_negative_penalty",
    "k_reciprocal",
    "list_distances",
    "log_intruders",
    "margin",
    "match_ranks",
    "nearest_others",
    "opposite_means",
    "reordered",
    "retrievable",
    "scaled_margin",
    "search_lists",
    "smooth_ap",
    "soft_margin",
    "standing",
    "summarize",
    "target_people",
    "temperature_of",
    "top_items",
    "toward",
]
