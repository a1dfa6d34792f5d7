"""Sizes of gradients and changes, for norms that neither overflow nor underflow."""

import jax.numpy as jnp

from jaxreid.types import Array

__all__: list[str] = []  # threats and rules are the public face


def largest_of(x: Array) -> Array:
    """Largest absolute value of each image [B,H,W,C], [B,1,1,1]."""
    return jnp.max(jnp.abs(x), axis=(1, 2, 3), keepdims=True)


def finite_part(x: Array) -> Array:
    """Zero in place of NaN and infinity."""
    return jnp.where(jnp.isfinite(x), x, 0)


def moderate(x: Array) -> Array:
    """Each image times a power of two that keeps its sum, and its reciprocal, in range.

    A power of two changes no digit. XLA divides by multiplying with the reciprocal, which is zero
    for the largest float32 numbers: so one cannot divide by the largest entry straight away.
    """
    reach = jnp.finfo(x.dtype).maxexp // 2
    largest = largest_of(x)
    shrink = jnp.where(largest > 2.0 ** (reach - 4), 2.0**-reach, 1.0)
    factor = jnp.where(largest < 2.0 ** -(reach - 4), 2.0**reach, shrink)
    return x * factor.astype(x.dtype)


def over_largest(x: Array) -> Array:
    """Each image divided by its largest absolute value; a zero image stays zero."""
    x = moderate(x)
    largest = largest_of(x)
    return x / jnp.where(largest > 0, largest, 1)
