"""Which queries are ranked, what counts as a match, and the metrics of both protocols."""

import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np

from jaxreid.checks import check_choice
from jaxreid.constants import Distance, ProtocolName, Ties
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.ranking import (
    KReciprocal,
    MatchRanks,
    RankingMetrics,
    cross_camera_matches,
    k_reciprocal,
    match_ranks,
    reordered,
    summarize,
)
from jaxreid.records import PerQuery, Score
from jaxreid.types import Embedded

__all__ = [
    "Cameras",
    "Scored",
    "camera_labels",
    "evenly_spaced",
    "refuse_matchless",
    "score",
    "scores_of",
    "with_match",
]

_PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
_MAX_RANK = 10

Cameras = Literal["differ", "ignore"]
"""Whether a match must be taken by another camera than the query, or cameras are not looked at."""


def evenly_spaced(count: int, limit: int | None) -> np.ndarray:
    """Positions spread over a list, int64 [min(count, limit)], ascending; all where limit is None.

    Splits are sorted by person: the first few images would show the first few people.
    """
    if limit is None or limit >= count:
        return np.arange(count)
    if limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    return np.arange(limit) * count // limit


def camera_labels(
    query: ReidSource, gallery: ReidSource, cameras: Cameras
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, int64 [Q] and [N], by which a query's own images are left out of its ranking.

    Without cameras only the query's own image is left out, where the gallery holds it: the labels
    are then equal where files are, byte by byte (CRC-32).
    """
    check_choice("cameras", cameras, get_args(Cameras))
    if cameras == "differ":
        return np.asarray(query.cameras), np.asarray(gallery.cameras)
    contents = [_checksums(source) for source in (query, gallery)]
    _, labels = np.unique(np.concatenate(contents), return_inverse=True)
    return labels[: len(query)], labels[len(query) :]


def _checksums(source: ReidSource) -> np.ndarray:
    known = getattr(source, "checksums", None)
    if known is not None:
        return np.asarray(known, np.int64)
    return np.array([zlib.crc32(source[i]["image"]) for i in range(len(source))], np.int64)


def with_match(
    query: ReidSource, gallery: ReidSource, labels: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Which queries have a match in the gallery.

    The others count 0 in the protocol "market1501" and are left out in "torchreid".

    Args:
        query: Q images.
        gallery: N images.
        labels: from `camera_labels`; the cameras by default.

    Returns:
        boolean [Q].
    """
    if len(query) == 0 or len(gallery) == 0:
        return np.zeros(len(query), bool)
    ours, theirs = labels or (query.cameras, gallery.cameras)
    rule = cross_camera_matches(
        np.asarray(query.identities), ours, np.asarray(gallery.identities), theirs
    )
    found: np.ndarray = np.any(rule.mask, axis=1)
    return found


def refuse_matchless(
    query: ReidSource, gallery: ReidSource, ranked: np.ndarray, found: np.ndarray, cameras: Cameras
) -> None:
    """Raises InputError where no ranked query has a match; the message says why and what helps.

    Args:
        query: Q images.
        gallery: N images.
        ranked: int64 [R], positions of the queries that are ranked.
        found: boolean [Q], from `with_match`.
        cameras: "differ" or "ignore", as in `found`.
    """
    if found[ranked].any():
        return
    if found.any():
        raise InputError(
            f"none of the {len(ranked)} queries that limit takes has a match in the gallery, and "
            f"{int(found.sum())} of all {len(query)} have: take more (--limit)"
        )
    ignored = camera_labels(query, gallery, "ignore") if cameras == "differ" else None
    if ignored is not None and with_match(query, gallery, ignored).any():
        raise InputError(
            "no query has a match that another camera took, so there is nothing to measure; for "
            "images without camera labels use --cameras ignore (in Python cameras='ignore'), and "
            "every image of the same person is a match"
        )
    raise InputError(
        "no query has a match in the gallery, so there is nothing to measure: the two splits have "
        "no person in common"
    )


class Scored(NamedTuple):
    """The metrics of a ranking.

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
    ties: Ties = "index",
) -> Scored:
    """Ranks the gallery for every query, once for both protocols; devices None: all local ones."""
    ranks = match_ranks(query, gallery, distance=distance, devices=devices, ties=ties)
    metrics, reranked = _metrics(ranks), None
    if rerank is not None:
        order = k_reciprocal(query, gallery, settings=rerank, distance=distance)
        reranked = scores_of(reordered(ranks, order, query, gallery))
    market = metrics["market1501"]
    per_query = PerQuery(
        identities=np.asarray(query.identities),
        cameras=np.asarray(query.cameras),
        valid=market.valid,
        first_match_rank=market.first_match_rank,
        market1501=market.average_precision,
        torchreid=metrics["torchreid"].average_precision,
    )
    return Scored(_scores(metrics), reranked, per_query)


def scores_of(ranks: MatchRanks) -> dict[str, Score]:
    """Protocol -> the metrics of some ranks.

    Args:
        ranks: of Q queries.

    Raises:
        InputError: none of them has a match.
    """
    return _scores(_metrics(ranks))


def _metrics(ranks: MatchRanks) -> dict[str, RankingMetrics]:
    return {name: summarize(ranks, protocol=name, max_rank=_MAX_RANK) for name in _PROTOCOLS}


def _scores(metrics: dict[str, RankingMetrics]) -> dict[str, Score]:
    return {
        name: Score(
            found.mean_average_precision,
            found.rank(1),
            found.rank(5),
            found.rank(10),
            found.mean_inverse_negative_penalty,
        )
        for name, found in metrics.items()
    }
