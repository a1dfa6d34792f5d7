"""Images as every network here takes them, whoever wrote it."""

import jax.numpy as jnp

from jaxreid.errors import InputError
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["float_images"]


def float_images(images: Array) -> Array:
    """Images [B,H,W,3] of floating point, float32 at least; refuses others."""
    if images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"expected images [B,H,W,3] (3 channels, last), got shape {tuple(images.shape)}"
        )
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(
            f"expected floating-point images in [0, 1], got {images.dtype}; divide by 255"
        )
    return at_least_float32(images)
