"""What published attacks on rankings climb: bounded, for features of unit length.

As those of `jaxreid.ranking.surrogates` they take the distances of lists and give one value per
row, the larger the worse the matches are found; 0, and no gradient, for a row without matches or
without others.
"""

import jax.numpy as jnp

from jaxreid.checks import check_count, check_number
from jaxreid.ranking.arguments import check_distances
from jaxreid.ranking.lists import ListDistances
from jaxreid.types import Array, PerImage

__all__ = ["histogram_ap", "mis_ranking"]

# Between two points of the unit sphere.
_FURTHEST = 2.0


def histogram_ap(distances: ListDistances, *, bins: int = 10) -> PerImage:
    """One less the average precision of a histogram, ``1 - sum_m (C+_m / C_m) H+_m / P``.

    B bins lie D = 2 / (B - 1) apart, ``b_m = (m - 1) D``, and an item at distance d counts
    ``max(0, 1 - |d - b_m| / D)`` in bin m: H+_m sums matches, H_m matches and others, C+_m and C_m
    the bins up to m. Where all distances lie on centres of bins, and no two of a match and an other
    on the same one, it is exactly ``1 - average_precision_sum``. The objective of Ding et al.,
    "Beyond Universal Person Re-Identification Attack", IEEE TIFS 2021,
    https://github.com/wenjie710/MUAP; the histogram is that of Ustinova and Lempitsky, NIPS
    2016, https://arxiv.org/abs/1611.00822.

    Args:
        distances: Euclidean, of features of unit length, in [0, 2]; beyond 2 they count as 2.
        bins: B, at least 2.

    Returns:
        [B] in [0, 1], without unit.

    Raises:
        InputError: on what is no ListDistances, or fewer than two bins.
    """
    check_distances(distances)
    count = check_count("bins", bins, least=2)
    matched = _histogram(distances.matched, distances.mask, count)
    before = jnp.cumsum(matched, axis=1)
    everything = before + jnp.cumsum(_histogram(distances.other, distances.others, count), axis=1)
    there = everything > 0
    precision = jnp.where(there, before, 0) / jnp.where(there, everything, 1)
    matches = jnp.maximum(jnp.sum(distances.mask, axis=1), 1)
    return _where_valid(distances, 1 - jnp.sum(precision * matched, axis=1) / matches)


def _histogram(values: Array, mask: Array, bins: int) -> Array:
    """Soft counts [B,bins] of distances [B,n]."""
    width = _FURTHEST / (bins - 1)
    inside = jnp.clip(jnp.where(mask, values, 0), 0, _FURTHEST)
    centres = width * jnp.arange(bins, dtype=inside.dtype)
    shares = jnp.maximum(0, 1 - jnp.abs(inside[..., None] - centres) / width)
    return jnp.sum(jnp.where(mask[..., None], shares, 0), axis=1)


def mis_ranking(distances: ListDistances, *, margin: float = 0.5) -> PerImage:
    """The mis-ranking loss with its sign turned, ``-max(0, max_N d^2 - min_P d^2 + margin)``.

    Whoever climbs it brings the furthest other nearer than the nearest match, by a margin: the
    triplet that is easiest to order the hardest to order. Wang et al., "Transferable, Controllable,
    and Inconspicuous Adversarial Attacks on Person Re-identification With Deep Mis-Ranking", CVPR
    2020, https://arxiv.org/abs/2004.04199, which leaves the margin open.

    Args:
        distances: Euclidean, of features of unit length.
        margin: at least 0, in squared unit of the distances.

    Returns:
        [B] at most 0, in squared unit of the distances.

    Raises:
        InputError: on what is no ListDistances, or a margin that is negative or not finite.
    """
    check_distances(distances)
    check_number("margin", margin, lambda m: (m >= 0) & (m < jnp.inf), "be 0 or more")
    # Of what is masked out not even a gradient is left.
    furthest = jnp.max(jnp.where(distances.others, distances.other, 0), axis=1)
    nearest = jnp.min(jnp.where(distances.mask, distances.matched, jnp.inf), axis=1)
    nearest = jnp.where(jnp.any(distances.mask, axis=1), nearest, 0)
    gap = jnp.square(furthest) - jnp.square(nearest) + margin
    return _where_valid(distances, -jnp.maximum(gap, 0))


def _where_valid(distances: ListDistances, values: PerImage) -> PerImage:
    both = jnp.any(distances.mask, axis=1) & jnp.any(distances.others, axis=1)
    return jnp.where(both, values, 0)
