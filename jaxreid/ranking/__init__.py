"""Exact ranking: evaluation protocols, ranks of the matches, and retrieval metrics."""

from jaxreid.ranking.candidates import (
    candidates_lowered,
    candidates_raised,
    furthest_margin,
    guarded,
)
from jaxreid.ranking.certificates import Certificates, certified_ranks, mean_error
from jaxreid.ranking.impersonation import impersonation_ranks
from jaxreid.ranking.lists import ListDistances, SearchLists, list_distances, search_lists
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
from jaxreid.ranking.people import person_at, toward
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
from jaxreid.ranking.published import histogram_ap, mis_ranking
from jaxreid.ranking.reranking import KReciprocal, Reranking, k_reciprocal, reordered
from jaxreid.ranking.search import evaluate, match_ranks
from jaxreid.ranking.soft_reranking import soft_k_reciprocal
from jaxreid.ranking.standings import Standing, standing
from jaxreid.ranking.surrogates import (
    log_intruders,
    margin,
    nearest_match,
    nearest_others,
    opposite_means,
    scaled_margin,
    smooth_ap,
    soft_margin,
    temperature_of,
)
from jaxreid.ranking.verification import (
    Roc,
    equal_error_rate,
    roc,
    threshold_at,
    true_accept_at,
)

__all__ = [
    "PROTOCOLS",
    "Certificates",
    "KReciprocal",
    "ListDistances",
    "MatchRanks",
    "Matches",
    "PairDistances",
    "Protocol",
    "RankingMetrics",
    "Reranking",
    "Roc",
    "SearchLists",
    "Standing",
    "average_precision_sum",
    "average_precision_trapezoid",
    "candidates_lowered",
    "candidates_raised",
    "certified_ranks",
    "cross_camera_matches",
    "cumulative_matching",
    "equal_error_rate",
    "evaluate",
    "furthest_margin",
    "guarded",
    "histogram_ap",
    "impersonation_ranks",
    "inverse_negative_penalty",
    "k_reciprocal",
    "list_distances",
    "log_intruders",
    "margin",
    "match_ranks",
    "mean_error",
    "mis_ranking",
    "nearest_match",
    "nearest_others",
    "opposite_means",
    "pair_distances",
    "person_at",
    "reordered",
    "retrievable",
    "roc",
    "scaled_margin",
    "search_lists",
    "search_pairs",
    "smooth_ap",
    "soft_k_reciprocal",
    "soft_margin",
    "standing",
    "summarize",
    "temperature_of",
    "threshold_at",
    "top_items",
    "toward",
    "true_accept_at",
]
