"""What the members of an ensemble climb, by name, and by what they decide."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from jaxreid.constants import NEAREST, Distance
from jaxreid.ranking import surrogates
from jaxreid.ranking.lists import ListDistances, SearchLists
from jaxreid.ranking.standings import Standing
from jaxreid.types import Array, PerImage

__all__ = ["ALONE", "OBJECTIVES", "Seen", "deciding_of"]


class Seen(NamedTuple):
    """What an objective may look at.

    Attributes:
        features: [B,D] of the images of the moment.
        lists: of the search.
        distances: of the features to the lists' items; for a targeted objective one person's images
            are the only others.
        temperature: [B], in the unit of the distances.
        distance: by which the ranking goes.
    """

    features: Float[Array, "B D"]
    lists: SearchLists
    distances: ListDistances
    temperature: PerImage
    distance: Distance


def deciding_of(found: Standing, sign: Array) -> tuple[Array, Array]:
    """Scores [B,3] that are the larger the better for the attacker: by precision, and by rank.

    Both hold average precision by both protocols and the rank of the first match; the second and
    third column decide where the first is equal.
    """
    first = found.first_rank.astype(jnp.float32)
    columns = [*(-part for part in found.average_precision.values()), first]
    return sign * jnp.stack(columns, axis=1), sign * jnp.stack(columns[::-1], axis=1)


def _opposite_means(seen: Seen) -> PerImage:
    return surrogates.opposite_means(seen.features, seen.lists, distance=seen.distance)


OBJECTIVES: dict[str, Callable[[Seen], PerImage]] = {
    "margin": lambda seen: surrogates.margin(seen.distances),
    "nearest_match": lambda seen: surrogates.nearest_match(seen.distances),
    "targeted_margin": lambda seen: surrogates.margin(seen.distances),
    "soft_margin": lambda seen: surrogates.soft_margin(
        seen.distances, temperature=seen.temperature
    ),
    "nearest_others": lambda seen: surrogates.nearest_others(seen.distances, count=NEAREST),
    "log_intruders": lambda seen: surrogates.log_intruders(
        seen.distances, temperature=seen.temperature
    ),
    "smooth_ap": lambda seen: surrogates.smooth_ap(seen.distances, temperature=seen.temperature),
    "opposite_means": _opposite_means,
}
"""Name -> what is maximised by who wants to be found late."""

ALONE: dict[str, Callable[[Array, Array], PerImage]] = {
    "away": lambda features, clean: jnp.sum(jnp.square(features - clean), axis=1),
    "opposite": lambda features, clean: -jnp.sum(jnp.square(features + clean), axis=1),
}
"""Name -> the same without lists, of features and clean features [B,D]: of SMA and of ODFA."""
