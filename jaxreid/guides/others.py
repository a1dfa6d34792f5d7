"""Guides of other identities: the furthest, the nearest, or one at random."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import Sizes, check_choice, check_count
from jaxreid.constants import NEAREST, Distance
from jaxreid.distances import comparable_squares, pairwise_cosine
from jaxreid.guides.sets import MOST_GUIDES, Groups, identities_of, people_of
from jaxreid.precision import in_double
from jaxreid.random import keys_of_rows
from jaxreid.types import (
    Array,
    ArrayLike,
    FeaturesLike,
    IdentitiesLike,
    KeysLike,
    Selection,
    SetFeaturesLike,
    SetIdentitiesLike,
)

__all__ = ["furthest_other", "nearest_other", "random_other"]

# Rows of a distance block: 1,024 rows against Market's 15,913 gallery items are 65 MB.
_BLOCK = 1024

_DISTANCES: dict[str, Callable[[Array, Array], Array]] = {
    "euclidean": comparable_squares,
    "cosine": pairwise_cosine,
}


@in_double
def furthest_other(
    features: FeaturesLike,
    identities: IdentitiesLike,
    guide_features: SetFeaturesLike,
    guide_identities: SetIdentitiesLike,
    *,
    count: int = 1,
    distance: Distance = "euclidean",
) -> Selection:
    """The guides of another identity that are furthest from each target.

    ``argmax_n d(f, g_n) over n with another identity``, then the next furthest, `count` in all.
    Over `centroids` it is the furthest other identity of FNA.

    Args:
        features: [B,D] floating point features of the targets.
        identities: [B] integer identities of the targets.
        guide_features: [N,D] floating point, same unit.
        guide_identities: [N] integer; 0 and -1 are never chosen.
        count: L, guides of each target; static.
        distance: "euclidean" or "cosine".

    Returns:
        Selection with indices [B,L] and mask [B,L], the furthest first.

    Raises:
        InputError: on wrong shapes or dtypes, NaN, an empty set, a wrong distance or count.
    """
    people = _checked(features, identities, guide_features, guide_identities, distance)
    count = check_count("count", count, least=1, most=np.shape(guide_features)[0], of="the guides")
    return _first(people, _DISTANCES[distance], count)


@in_double
def nearest_other(
    features: FeaturesLike,
    identities: IdentitiesLike,
    guide_features: SetFeaturesLike,
    guide_identities: SetIdentitiesLike,
    *,
    count: int = NEAREST,
    distance: Distance = "euclidean",
) -> Selection:
    """The guides of other identities that are nearest to each target.

    ``argmin_n d(f, g_n) over n with another identity``, then the next nearest, `count` in all.
    Over single images they are the pulling guides of `jaxreid.attacks.nna`.

    Args:
        features: [B,D] floating point features of the targets.
        identities: [B] integer identities of the targets.
        guide_features: [N,D] floating point, same unit.
        guide_identities: [N] integer; 0 and -1 are never chosen.
        count: k, guides of each target; static. Those that there are not are masked.
        distance: "euclidean" or "cosine".

    Returns:
        Selection with indices [B,k] and mask [B,k], the nearest first; of two that are equally
        near the one that comes first in the guide set.

    Raises:
        InputError: on wrong shapes or dtypes, NaN, an empty set, a wrong distance or count.
    """
    people = _checked(features, identities, guide_features, guide_identities, distance)
    count = check_count("count", count, least=1, most=MOST_GUIDES)
    there = min(count, people.guides.shape[0])
    found = _first(people, lambda x, y: -_DISTANCES[distance](x, y), there)
    return Selection(*(jnp.pad(part, ((0, 0), (0, count - there))) for part in found))


class _People(NamedTuple):
    """Targets and guides, checked."""

    targets: Array  # [B,D]
    target_ids: Array  # [B]
    guides: Array  # [N,D]
    guide_ids: Array  # [N]


def _checked(
    features: ArrayLike,
    identities: ArrayLike,
    guide_features: ArrayLike,
    guide_identities: ArrayLike,
    distance: str,
) -> _People:
    sizes = Sizes()
    targets, target_ids = people_of("", features, identities, sizes, "B")
    guides, guide_ids = people_of("guide_", guide_features, guide_identities, sizes, "N")
    check_choice("distance", distance, _DISTANCES)
    # What is never chosen, padding too, must not set the point and the scale of the distances.
    guides = jnp.where((guide_ids > 0)[:, None], guides, guides[jnp.argmax(guide_ids > 0)])
    return _People(targets, target_ids, guides, guide_ids)


def _first(people: _People, score: Callable[[Array, Array], Array], count: int) -> Selection:
    """The `count` guides of other identities with the highest scores ([M,D], [N,D] -> [M,N])."""
    targets, target_ids, guides, guide_ids = people

    def block(rows: slice) -> tuple[Array, Array]:
        own = target_ids[rows, None]
        allowed = (guide_ids > 0) & (guide_ids != own) & (own > 0)
        scores = jnp.where(allowed, score(targets[rows], guides), -jnp.inf)
        if count == 1:  # much quicker than sorting
            index = jnp.argmax(scores, axis=1)[:, None]
            return index.astype(jnp.int32), jnp.any(allowed, axis=1, keepdims=True)
        best, index = jax.lax.top_k(scores, count)
        return index.astype(jnp.int32), best > -jnp.inf

    # Blocks bound the memory; a scan over them would be compiled anew by every call outside jit.
    blocks = [block(slice(i, i + _BLOCK)) for i in range(0, targets.shape[0], _BLOCK)]
    index, found = (jnp.concatenate(part) for part in zip(*blocks, strict=True))
    return Selection(jnp.where(found, index, 0), found)


def random_other(
    identities: IdentitiesLike, guide_identities: SetIdentitiesLike, key: KeysLike
) -> Selection:
    """A guide of another identity, drawn uniformly from the guide set for each target.

    Over `centroids.identities` it is a random other identity (the random-pull ablation of FNA).

    Args:
        identities: [B] integer identities of the targets.
        guide_identities: [N] integer; 0 and -1 are never chosen.
        key: a random key or [B] keys.

    Returns:
        Selection with indices [B,1] and mask [B,1].

    Raises:
        InputError: on wrong shapes or dtypes, an empty set, or another number of keys.
    """
    targets = identities_of("identities", identities, "B")
    guide_set = identities_of("guide_identities", guide_identities, "N")
    groups = Groups.of(guide_set)
    start, end = groups.bounds(targets)
    others = guide_set.shape[0] - groups.first_valid - (end - start)
    keys = keys_of_rows(key, targets.shape[0])
    draw = jax.vmap(lambda k, n: jax.random.randint(k, (), 0, jnp.maximum(n, 1)))(keys, others)
    # The r-th allowed item of the sorted set: skip the own group if it lies before.
    position = groups.first_valid + draw
    position = jnp.where(position >= start, position + (end - start), position)
    found = ((others > 0) & (targets > 0))[:, None]
    return Selection(groups.at(position)[:, None] * found, found)
