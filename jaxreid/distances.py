"""Distances between features, row by row and pairwise, with gradients that are safe at zero."""

import jax
import jax.numpy as jnp

from jaxreid.types import Array

__all__ = [
    "euclidean",
    "l2_normalize",
    "pairwise_cosine",
    "pairwise_euclidean",
    "pairwise_squared_euclidean",
    "squared_euclidean",
]


def _safe_sqrt(x: Array) -> Array:
    """Square root whose gradient at (and below) zero is zero instead of infinite or NaN."""
    # The inner `where` keeps the untaken branch finite: 0 * inf would still be NaN.
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def squared_euclidean(x: Array, y: Array) -> Array:
    """Squared Euclidean distance of corresponding rows, ``sum_d (x_d - y_d)^2``.

    Args:
        x: [...,D] floating point features.
        y: [...,D] floating point features, same unit; leading axes broadcast.

    Returns:
        [...] squared unit of the features, >= 0.
    """
    return jnp.sum(jnp.square(x - y), axis=-1)


def euclidean(x: Array, y: Array) -> Array:
    """Euclidean distance of corresponding rows, ``sqrt(sum_d (x_d - y_d)^2)``.

    Args:
        x: [...,D] floating point features.
        y: [...,D] floating point features, same unit; leading axes broadcast.

    Returns:
        [...] unit of the features, >= 0; its gradient is zero where x equals y.
    """
    return _safe_sqrt(squared_euclidean(x, y))


def l2_normalize(x: Array) -> Array:
    """Scales rows to unit length, ``x / ||x||``; a zero row stays zero.

    Args:
        x: [...,D] floating point features.

    Returns:
        [...,D] without unit; its gradient is finite everywhere.
    """
    norm = _safe_sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    return x / jnp.where(norm > 0, norm, 1)


def _dot(x: Array, y: Array) -> Array:
    # Full float32 products: TF32 and bfloat16, defaults of accelerators, reorder close neighbours.
    return jnp.matmul(x, jnp.swapaxes(y, -1, -2), precision=jax.lax.Precision.HIGHEST)


def pairwise_squared_euclidean(x: Array, y: Array) -> Array:
    """All squared Euclidean distances, ``||x_i||^2 + ||y_j||^2 - 2 x_i . y_j``, clamped at zero.

    Args:
        x: [M,D] floating point features.
        y: [N,D] floating point features, same unit.

    Returns:
        [M,N] squared unit of the features, >= 0. Differences below about 1e-7 of the squared norms
        are lost in float32.
    """
    x_norm = jnp.sum(jnp.square(x), axis=-1)
    y_norm = jnp.sum(jnp.square(y), axis=-1)
    return jnp.maximum(x_norm[..., :, None] + y_norm[..., None, :] - 2 * _dot(x, y), 0)


def pairwise_euclidean(x: Array, y: Array) -> Array:
    """All Euclidean distances, ``sqrt(||x_i||^2 + ||y_j||^2 - 2 x_i . y_j)``.

    Args:
        x: [M,D] floating point features.
        y: [N,D] floating point features, same unit.

    Returns:
        [M,N] unit of the features, >= 0; the gradient of a zero distance is zero.
    """
    return _safe_sqrt(pairwise_squared_euclidean(x, y))


def pairwise_cosine(x: Array, y: Array) -> Array:
    """All cosine distances, ``1 - x_i . y_j / (||x_i|| ||y_j||)``.

    Args:
        x: [M,D] floating point features.
        y: [N,D] floating point features.

    Returns:
        [M,N] in [0, 2] up to rounding, without unit; the distance to a zero row is 1.
    """
    return 1 - _dot(l2_normalize(x), l2_normalize(y))
