"""Triplets of a batch: an anchor, another image of its person, and an image of somebody else."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.distances import euclidean
from jaxreid.types import Array

__all__ = ["MININGS", "Mining", "Triplets", "hardness", "mined", "nearer_half", "weighted_mean"]

Mining = Literal["softhard", "semihard"]
"""By which rule the images of a triplet are drawn, see `mined`."""


class Triplets(NamedTuple):
    """One triplet per image of a device, which is its anchor.

    Attributes:
        positive: [B] int32, position of the positive in the whole batch.
        negative: [B] int32, likewise.
        mask: [B] boolean, whether there are both; positions mean nothing where it is False.
    """

    positive: Array
    negative: Array
    mask: Array


def mined(
    rule: Mining, distances: Array, positive: Array, negative: Array, keys: Array, *, margin: float
) -> Triplets:
    """Draws a positive and a negative for each anchor.

    - softhard: the positive among those further than the nearest negative, or the furthest; the
      negative among those nearer than the furthest positive, or the nearest.
    - semihard: any positive; the negative among those that are further than it by less than the
      margin, or the nearest of those that are further, or the furthest.

    Args:
        rule: "softhard" or "semihard".
        distances: [B,N] from the anchors to the whole batch.
        positive: boolean [B,N], which are other images of the anchor's person.
        negative: boolean [B,N], which are images of other people.
        keys: [B] random keys of the anchors: what is drawn for one depends on no other.
        margin: of semihard, in the unit of the distances.
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (2, distances.shape[1])))(keys)
    chosen = MININGS[rule](distances, positive, negative, draws, margin)
    one, other = (place.astype(jnp.int32) for place in chosen)
    return Triplets(one, other, jnp.any(positive, axis=1) & jnp.any(negative, axis=1))


def _first(candidates: Array, order: Array) -> Array:
    """The candidate of the smallest number in each row, [B]."""
    return jnp.argmin(jnp.where(candidates, order, jnp.inf), axis=1)


def _drawn(candidates: Array, draws: Array, otherwise: Array) -> Array:
    """The candidate of the smallest draw in each row, [B]; where there is none, another choice."""
    return jnp.where(jnp.any(candidates, axis=1), _first(candidates, draws), otherwise)


def _softhard(
    distances: Array, positive: Array, negative: Array, draws: Array, margin: float
) -> tuple[Array, Array]:
    furthest, nearest = _first(positive, -distances), _first(negative, distances)

    def at(place: Array) -> Array:
        return jnp.take_along_axis(distances, place[:, None], axis=1)

    further, nearer = distances > at(nearest), distances < at(furthest)
    return (
        _drawn(positive & further, draws[:, 0], furthest),
        _drawn(negative & nearer, draws[:, 1], nearest),
    )


def _semihard(
    distances: Array, positive: Array, negative: Array, draws: Array, margin: float
) -> tuple[Array, Array]:
    chosen = _first(positive, draws[:, 0])
    gap = distances - jnp.take_along_axis(distances, chosen[:, None], axis=1)
    beyond = negative & (gap > 0)
    furthest = _first(negative, -distances)
    otherwise = jnp.where(jnp.any(beyond, axis=1), _first(beyond, distances), furthest)
    return chosen, _drawn(beyond & (gap < margin), draws[:, 1], otherwise)


MININGS: Mapping[Mining, Callable[[Array, Array, Array, Array, float], tuple[Array, Array]]] = {
    "softhard": _softhard,
    "semihard": _semihard,
}
"""Name -> (distances, positive, negative, draws [B,2,N] in [0, 1), margin) -> places [B] of each.

Zhou and Patel, "Enhancing Adversarial Robustness for Deep Metric Learning", CVPR 2022,
https://arxiv.org/abs/2203.01439.
"""


def hardness(anchors: Array, positives: Array, negatives: Array) -> Array:
    """How much nearer the negative is than the positive, ``d(a, p) - d(a, n)``, [B].

    Args:
        anchors: [B,D] features.
        positives: [B,D].
        negatives: [B,D].
    """
    return euclidean(anchors, positives) - euclidean(anchors, negatives)


def weighted_mean(distances: Array, mask: Array, *, sharpness: float) -> Array:
    """A mean that the largest distances weigh most in, [].

    ``sum_i w_i d_i / sum_i w_i`` with ``w_i = exp(s (d_i - max d))``, Tian et al., ICML 2024,
    https://arxiv.org/abs/2312.07364; 0 of no distances.

    Args:
        distances: [N].
        mask: boolean [N], which count.
        sharpness: s, per unit of the distances.
    """
    known = jnp.any(mask)
    weights = jax.nn.softmax(jnp.where(mask | ~known, sharpness * distances, -jnp.inf))
    return jnp.where(known, jnp.sum(jnp.where(mask, weights * distances, 0)), 0)


def nearer_half(distances: Array, mask: Array) -> Array:
    """The mean of the smaller half of distances (of an odd number, without the median), [].

    Of a single one it is that one, of none 0.

    Args:
        distances: [N].
        mask: boolean [N], which count.
    """
    ranks = jnp.argsort(jnp.argsort(jnp.where(mask, distances, jnp.inf)))
    count = jnp.maximum(jnp.sum(mask) // 2, 1)
    return jnp.sum(jnp.where(mask & (ranks < count), distances, 0)) / count
