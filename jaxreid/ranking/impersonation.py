"""Where people stand in the searches of others, who want to be found as them."""

import numpy as np
from jaxtyping import Int

from jaxreid.checks import Sizes
from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_sets, host_integers
from jaxreid.ranking.blocks import blocks, refuse_nonfinite
from jaxreid.ranking.protocol import Matches, MatchRanks, cross_camera_matches
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
) -> MatchRanks:
    """Ranks of the images of another person, whom each query wants to be found as.

    ``r_j = j + |{n takes part, not of the sought person: d_n < d_j}|`` for that person's j-th
    nearest image. The search is that of the query's own: junk takes no part, nor do images of its
    own identity by its own camera. Those of the sought person do by any camera; items as far as one
    of them come after it, which is what an impersonator gains by ties.

    Args:
        query: features [Q,D] floating point in the unit of the embedding, identities [Q] and
            cameras [Q] integer.
        gallery: the same with N items.
        sought: [Q] integer, a person above 0 for each query, not its own; 0 for nobody.
        distance: "euclidean" or "cosine".

    Returns:
        MatchRanks; a row without any True in its mask is of a query that seeks nobody, or nobody of
        whom the gallery has an image.

    Raises:
        InputError: on wrong shapes or dtypes, NaN or infinity, or a query that seeks itself.
    """
    check_sets(query, gallery, distance)
    refuse_nonfinite(query, gallery)
    goals = sought_people(query, sought)
    people, (indices, mask) = np.asarray(gallery.identities), _images_of(goals, gallery)
    ranks, order = np.zeros(mask.shape, np.int64), np.zeros(mask.shape, np.int64)
    for block in blocks(query, gallery, distance=distance):
        goal = goals[block.rows, None] == people
        others = block.kept & ~goal & (block.apart | ~block.own)
        near = np.take_along_axis(block.distances, indices[block.rows], axis=1)
        near = np.where(mask[block.rows], near, np.inf)
        order[block.rows] = np.argsort(near, axis=1, kind="stable")
        far = np.sort(np.where(others, block.distances, np.inf), axis=1)
        pairs = zip(far, np.sort(near, axis=1), strict=True)
        ranks[block.rows] = [np.searchsorted(*pair, side="left") for pair in pairs]
    ranks += np.arange(1, mask.shape[1] + 1)
    # True comes first, and padding is the furthest: a row's mask stays what it is.
    return MatchRanks(ranks * mask, mask, np.take_along_axis(indices, order, axis=1))


def _images_of(goals: Int[np.ndarray, " Q"], gallery: Embedded) -> Matches:
    """Where the gallery has the people who are sought, by whatever camera."""
    nowhere = np.full(len(goals), -1)
    anywhere = np.zeros(len(np.asarray(gallery.identities)), np.int64)
    return cross_camera_matches(goals, nowhere, gallery.identities, anywhere)
