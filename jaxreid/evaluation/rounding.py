"""Adversarial images as they are ranked, in floating point or 8 bits, and how much they changed."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxreid.augmentation import to_float
from jaxreid.constants import Norm
from jaxreid.records import Condition
from jaxreid.types import Array

__all__ = ["as_float", "finish_of", "in_pixels"]

# Rounding noise of float32 pixels, in grey levels: 2.9999995 is a change of 3.
_ROUNDING = 1e-3

Finish = Callable[[Array, tuple[Array, Array]], tuple[Array, Array]]
"""eps in pixel range, (clean uint8, adversarial) [b,H,W,3] -> images and their largest change [b],
in 1/255."""


def finish_of(norm: Norm, *, eight_bit: bool) -> Finish:
    """What makes of adversarial images those that are ranked.

    Args:
        norm: of the budget; rounding stays inside of it.
        eight_bit: whether images become uint8.

    Returns:
        A function for `jaxreid.sharding.over_rows`.
    """
    if not eight_bit:
        return _unrounded
    return _rounded_linf if norm == "linf" else _rounded_l2


def in_pixels(condition: Condition) -> tuple[float, float]:
    """Budget and step in pixel range."""
    unit = 255 if condition.norm == "linf" else 1
    return condition.eps / unit, condition.step_size / unit


def as_float(images: np.ndarray) -> np.ndarray:
    """Images on the host as float32 in [0, 1], of uint8 or of such as they are."""
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images


def _unrounded(eps: Array, rows: tuple[Array, Array]) -> tuple[Array, Array]:
    images, adversarial = rows
    return adversarial, _largest(255 * jnp.abs(adversarial - to_float(images)))


def _rounded_linf(eps: Array, rows: tuple[Array, Array]) -> tuple[Array, Array]:
    """To the nearest of 256 levels; where eps is no whole number of them, within the whole part."""
    images, adversarial = rows
    change = jnp.round(255 * adversarial) - images.astype(jnp.float32)
    most = jnp.floor(255 * eps + _ROUNDING)
    return _changed(images, jnp.clip(change, -most, most))


def _rounded_l2(eps: Array, rows: tuple[Array, Array]) -> tuple[Array, Array]:
    """Towards the clean image: rounding to the nearest level could leave the ball."""
    images, adversarial = rows
    change = 255 * adversarial - images.astype(jnp.float32)
    return _changed(images, jnp.trunc(change))


def _changed(images: Array, change: Array) -> tuple[Array, Array]:
    levels = images.astype(jnp.float32) + change
    return jnp.clip(levels, 0, 255).astype(jnp.uint8), _largest(jnp.abs(change))


def _largest(change: Array) -> Array:
    return jnp.max(change, axis=(1, 2, 3))
