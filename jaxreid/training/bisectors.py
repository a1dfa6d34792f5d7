"""How far an image is from being nearer to somebody else: a penalty on the slope of that."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.collectives import Collective
from jaxreid.distances import euclidean, pairwise_squared_euclidean
from jaxreid.errors import InputError
from jaxreid.losses.consistency import spread
from jaxreid.training.defenses import Penalty
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["bisector_penalty"]


class _Pairs(NamedTuple):
    """What lies on both sides of each image's bisector.

    Attributes:
        positive: [B,D], the nearest other image of the same person in the whole batch.
        negative: [B,D], the nearest image of somebody else.
        mask: boolean [B], whether there are both.
    """

    positive: Array
    negative: Array
    mask: Array


def bisector_penalty(weight: float, eps: float | ArrayLike) -> Penalty:
    """Makes the term that keeps images from reaching the bisector to somebody else.

    ``weight * mean_i relu(eps ||d m_i / d x_i||_1 - m_i)``, with the distance of an image's feature
    f to the bisector of the nearest other image p of its person and the nearest image n of
    somebody else, ``m = (||f - n||^2 - ||f - p||^2) / (2 ||p - n||)``, over the root of the mean
    squared distance of the batch's features to their mean. To first order an attack of eps in the
    maximum norm moves m by eps times the L1 norm of its gradient: nothing is asked of an image that
    it leaves on its side. A Lipschitz constant in the place of the gradient makes that a
    certificate (Pautov et al., "Smoothed Embeddings for Certified Few-Shot Learning", NeurIPS 2022,
    https://arxiv.org/abs/2202.01186); hinges on first-order distances are of Elsayed et al., "Large
    Margin Deep Networks", NeurIPS 2018, https://arxiv.org/abs/1803.05598.

    Features are of clean images on the running statistics, on which each depends on its image only.
    For the slope p and n are constants; then all of it is differentiated to the weights, the slope
    a second time, so that nothing is gained by features that only shrink.

    Args:
        weight: above 0.
        eps: in pixel range, above 0; a number or [C].

    Returns:
        The Penalty. Its metrics: `bisector`, the mean without the weight; `crossing`, the share of
        images that eps moves across their bisector, to first order; of images without another one
        of their person in the batch neither.

    Raises:
        InputError: a number that is not above 0.
    """
    if not (weight > 0 and np.all(np.asarray(eps) > 0)):
        raise InputError(f"weight and eps must be above 0, got {weight:g} and {eps}")

    def penalty(
        embed: Embed, images: Array, labels: ArrayLike, devices: Collective
    ) -> tuple[Array, dict[str, Array]]:
        features, pull_back = jax.vjp(embed, images)
        everyone = devices.gather(features)
        pairs = _pairs(features, everyone, labels, devices)
        way = _way(pairs)
        # The same as the squares' difference, which cancels where features are far from the origin.
        margins = jnp.sum((features - (pairs.positive + pairs.negative) / 2) * way, axis=1)
        (slope,) = pull_back(way)
        reach = jnp.sum(jnp.abs(slope) * jnp.asarray(eps, slope.dtype), axis=(1, 2, 3))
        missing = jax.nn.relu(reach - margins) / jnp.sqrt(spread(everyone))
        # Images are counted over all devices: one may hold fewer with a pair than another.
        count = devices.number_of(pairs.mask)
        value = jnp.sum(jnp.where(pairs.mask, missing, 0)) / count
        crossing = jnp.sum(pairs.mask & (missing > 0)) / count
        return weight * value, {"bisector": value, "crossing": crossing}

    return penalty


def _pairs(features: Array, everyone: Array, labels: ArrayLike, devices: Collective) -> _Pairs:
    people = devices.gather(labels)
    same = jnp.asarray(labels)[:, None] == people
    himself = devices.positions(len(features))[:, None] == jnp.arange(len(people))
    distances = pairwise_squared_euclidean(features, everyone)

    def nearest(allowed: Array) -> Array:
        return everyone[jnp.argmin(jnp.where(allowed, distances, jnp.inf), axis=1)]

    mask = jnp.any(same & ~himself, axis=1) & jnp.any(~same, axis=1)
    return _Pairs(nearest(same & ~himself), nearest(~same), mask)


def _way(pairs: _Pairs) -> Array:
    """From the negative to the positive, of length 1, [B,D]: the gradient of m by the feature."""
    apart = euclidean(pairs.positive, pairs.negative)[:, None]
    return (pairs.positive - pairs.negative) / jnp.where(apart > 0, apart, 1)
