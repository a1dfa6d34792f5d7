"""Camera embeddings: what a network adds to its tokens by the camera that took the image."""

import jax.numpy as jnp

from jaxreid.errors import InputError
from jaxreid.types import Array

__all__ = ["MEAN_CAMERA", "NO_CAMERA", "camera_rows"]

MEAN_CAMERA = -1
"""In place of a camera: the mean over all cameras' embeddings."""
NO_CAMERA = -2
"""In place of a camera: nothing is added."""


def camera_rows(table: Array, cameras: Array | None) -> Array:
    """The embedding of each image's camera.

    He et al., TransReID, section 3.3, https://arxiv.org/abs/2102.04378 (side information).

    Args:
        table: [cameras, ..., D].
        cameras: int32 [B], 0-based, or MEAN_CAMERA or NO_CAMERA; None is NO_CAMERA for all. One
            that the table does not have gives NaN.

    Returns:
        [B, ..., D], or zeros [1, ..., D] without cameras.

    Raises:
        InputError: cameras are no integers [B].
    """
    if cameras is None:
        return jnp.zeros((1, *table.shape[1:]), table.dtype)
    if cameras.ndim != 1 or not jnp.issubdtype(cameras.dtype, jnp.integer):
        raise InputError(
            f"cameras must be integers [B], got {cameras.dtype} {tuple(cameras.shape)}"
        )
    rows = table.at[jnp.where(cameras < 0, 0, cameras)].get(mode="fill", fill_value=jnp.nan)
    of_image = cameras.reshape((-1,) + (1,) * (table.ndim - 1))
    rows = jnp.where(of_image == MEAN_CAMERA, table.mean(0), rows)
    return jnp.where(of_image == NO_CAMERA, 0, rows)
