"""Where a person stands in the searches of others, who want to be found as that person."""

import numpy as np
from jaxtyping import Int

from jaxreid.checks import Sizes
from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_sets, host_integers
from jaxreid.ranking.blocks import blocks, refuse_nonfinite
from jaxreid.types import Embedded

__all__ = ["impersonation_ranks"]


def sought_people(query: Embedded, sought: Int[np.ndarray, " Q"]) -> Int[np.ndarray, " Q"]:
    """Checks whom each query wants to be found as: another person, or 0 for nobody."""
    sizes = Sizes()
    own = host_integers("query.identities", query.identities, "Q", sizes)
    goals = host_integers("sought", sought, "Q", sizes, least=0)
    if np.any((goals > 0) & (goals == own)):
        raise InputError("sought must name other people: a query does not impersonate itself")
    return goals


def impersonation_ranks(
    query: Embedded,
    gallery: Embedded,
    sought: Int[np.ndarray, " Q"],
    *,
    distance: Distance = "euclidean",
) -> Int[np.ndarray, " Q"]:
    """Rank of the first image of another person, whom each query wants to be found as.

    ``r = 1 + |{n takes part, not of the sought person: d_n < min over the sought person of d}|``.
    The search is that of the query's own: junk takes no part, nor do images of its own identity by
    its own camera. Those of the sought person do by any camera; items as far as their nearest one
    come after it, which is what the impersonator gains by ties.

    Args:
        query: features [Q,D] floating point in the unit of the embedding, identities [Q] and
            cameras [Q] integer.
        gallery: the same with N items.
        sought: [Q] integer, a person above 0 for each query, not its own; 0 for nobody.
        distance: "euclidean" or "cosine".

    Returns:
        [Q] int64, 1-based; 0 where the gallery has no image of the person.

    Raises:
        InputError: on wrong shapes or dtypes, NaN or infinity, or a query that seeks itself.
    """
    check_sets(query, gallery, distance)
    refuse_nonfinite(query, gallery)
    goals = sought_people(query, sought)
    people = np.asarray(gallery.identities)[None]
    ranks = np.zeros(len(goals), np.int64)
    for block in blocks(query, gallery, distance=distance):
        sought = goals[block.rows, None]
        goal = (sought > 0) & (sought == people)
        nearest = np.min(block.distances, axis=1, where=goal, initial=np.inf)
        others = block.kept & ~goal & (block.apart | ~block.own)
        before = np.sum(others & (block.distances < nearest[:, None]), axis=1)
        ranks[block.rows] = np.where(goal.any(axis=1), 1 + before, 0)
    return ranks
