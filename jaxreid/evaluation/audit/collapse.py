"""Checks of the clean features: are they all alike, and do distances tie?"""

import numpy as np

from jaxreid.constants import Distance
from jaxreid.distances import pairwise_cosine, pairwise_squared_euclidean
from jaxreid.evaluation.audit.flags import judged, unknown
from jaxreid.evaluation.features import rows_of
from jaxreid.ranking import cross_camera_matches, retrievable
from jaxreid.records import Flag
from jaxreid.types import Embedded

__all__ = ["collapse_flags"]


def collapse_flags(
    query: Embedded, gallery: Embedded, rows: np.ndarray, *, distance: Distance
) -> list[Flag]:
    """Looks at the clean features of queries and gallery; two flags.

    Args:
        query: Q queries.
        gallery: N items.
        rows: [S] positions of the queries whose distances are looked at for ties.
        distance: "euclidean" or "cosine".

    Returns:
        "all alike" and "ties".
    """
    cosine = _mean_cosine(query, gallery)
    if cosine is None:
        alike = unknown("all alike", "No two people to compare.", "Use a larger dataset.")
    else:
        alike = judged("all alike", cosine)
    return [alike, judged("ties", _tied(rows_of(query, rows), gallery, distance))]


def _mean_cosine(query: Embedded, gallery: Embedded) -> float | None:
    """Over all pairs of a query and a gallery item of another person, without making the pairs.

    The sum over all pairs is the product of two sums; that of each person's own pairs is taken off.
    """
    ours, theirs = _units(query), _units(gallery)
    own, other = np.asarray(query.identities), np.asarray(gallery.identities)
    taken, kept = own > 0, other > 0
    ours, own, theirs, other = ours[taken], own[taken], theirs[kept], other[kept]
    total, pairs = float(ours.sum(0) @ theirs.sum(0)), len(own) * len(other)
    for person in np.intersect1d(own, other):
        mine, its = ours[own == person], theirs[other == person]
        total -= float(mine.sum(0) @ its.sum(0))
        pairs -= len(mine) * len(its)
    return total / pairs if pairs else None


def _units(embedded: Embedded) -> np.ndarray:
    features = np.asarray(embedded.features, np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)


def _tied(query: Embedded, gallery: Embedded, distance: Distance) -> float:
    """Share of pairs of a match and a wrong item that are equally far, to the bit, from a query."""
    pairwise = pairwise_cosine if distance == "cosine" else pairwise_squared_euclidean
    apart = np.asarray(pairwise(np.asarray(query.features), np.asarray(gallery.features)))
    identities = np.asarray(gallery.identities)
    rule = cross_camera_matches(query.identities, query.cameras, identities, gallery.cameras)
    wrong = np.asarray(retrievable(identities))
    tied = pairs = 0
    for row, person in enumerate(np.asarray(query.identities)):
        others = np.sort(apart[row, wrong & (identities != person)])
        matched = apart[row, rule.indices[row][rule.mask[row]]]
        ends = np.searchsorted(others, matched, "right"), np.searchsorted(others, matched, "left")
        tied += int((ends[0] - ends[1]).sum())
        pairs += len(matched) * len(others)
    return tied / pairs if pairs else 0.0
