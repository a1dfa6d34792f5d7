"""Camera embeddings: what a network adds to its tokens by the camera that took the image."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.cameras import MEAN_CAMERA, NO_CAMERA
from jaxreid.checks import check_values, shown
from jaxreid.errors import InputError
from jaxreid.precision import at_least_float32
from jaxreid.types import Array, ArrayLike

__all__ = [
    "MEAN_CAMERA",
    "NO_CAMERA",
    "camera_numbers",
    "camera_rows",
    "cameras_of",
    "cameras_of_batch",
    "rows_of_cameras",
]

_WORDS = {"mean": MEAN_CAMERA, "none": NO_CAMERA}
# Among rows of the table: the mean of all but row 0, which is nobody's where cameras count from 1.
_MEAN_FROM_ROW_1 = -3


def cameras_of(model: object) -> int:
    """How many cameras a network tells apart: its attribute `cameras`; 0 without."""
    return int(getattr(model, "cameras", 0))


def camera_numbers(cameras: str | int | ArrayLike, count: int) -> Array:
    """Cameras as `camera_rows` takes them, int32 [B], or [] for one camera of all images.

    Args:
        cameras: integers [B] from 0, or one integer; MEAN_CAMERA and NO_CAMERA, too; or "mean" or
            "none".
        count: cameras that the network tells apart.

    Raises:
        InputError: they are something else, or known and out of range.
    """
    expected = (
        f"cameras must be integers [B] from 0 to {count - 1}, one of them for all images, 'mean' "
        "or 'none'"
    )
    if isinstance(cameras, str):
        if cameras not in _WORDS:
            raise InputError(f"{expected}; got {shown(cameras)}")
        cameras = _WORDS[cameras]
    numbers = cameras if isinstance(cameras, jax.Array) else np.asarray(cameras)
    if numbers.ndim > 1 or not jnp.issubdtype(numbers.dtype, jnp.integer):
        raise InputError(f"{expected}; got {numbers.dtype} {tuple(numbers.shape)}")
    check_values(numbers, lambda each: (each >= NO_CAMERA) & (each < count), expected)
    return jnp.asarray(numbers, jnp.int32)


def cameras_of_batch(seen: Array | None, known: int, count: int) -> Array:
    """The camera of each image of a batch, int32 [B].

    Args:
        seen: what an embedding was told: [B], [] for one of all images, or None for nothing.
        known: cameras that the network tells apart, above 0.
        count: images in the batch.

    Raises:
        InputError: it was told nothing, or the cameras of another number of images.
    """
    if seen is None:
        raise InputError(
            f"the feature depends on which of {known} cameras took the image: tell it, "
            "embedding.seen_by([0, 2, ...]) of each image, or one for all: a number, 'mean' or "
            "'none'"
        )
    if seen.ndim and len(seen) != count:
        raise InputError(
            f"the embedding was told the cameras of {len(seen)} images, and got {count}"
        )
    return jnp.broadcast_to(seen, (count,))


def rows_of_cameras(cameras: Array, first: int, views: int = 1) -> Array:
    """Cameras from 0, MEAN_CAMERA or NO_CAMERA -> what `camera_rows` takes of a table.

    Args:
        cameras: int32 [B].
        first: row of the first camera, 0 or 1; the mean is over the rows of cameras.
        views: rows of each camera, of which an image gets the mean.

    Returns:
        int32 [B], or [B, views] of several.
    """
    all_rows = _MEAN_FROM_ROW_1 if first else MEAN_CAMERA
    mean = jnp.where(cameras == MEAN_CAMERA, all_rows, cameras)
    if views == 1:
        return jnp.where(cameras < 0, mean, cameras + first)
    rows = cameras[:, None] * views + first + jnp.arange(views, dtype=cameras.dtype)
    return jnp.where(cameras[:, None] < 0, mean[:, None], rows)


def camera_rows(table: Array, cameras: Array | None) -> Array:
    """The embedding of each image's camera.

    He et al., TransReID, section 3.3, https://arxiv.org/abs/2102.04378 (side information).

    Args:
        table: [cameras, ..., D].
        cameras: int32 [B], rows from 0, or MEAN_CAMERA or NO_CAMERA, or as `rows_of_cameras` has
            them; of [B, V], each image gets the mean of V rows; None is NO_CAMERA for all. One that
            the table does not have gives NaN.

    Returns:
        [B, ..., D], or zeros [1, ..., D] without cameras; float32 at least.

    Raises:
        InputError: cameras are no integers [B] or [B, V].
    """
    # Means and products with a factor are not to be rounded as the file's numbers were.
    table = at_least_float32(table)
    if cameras is None:
        return jnp.zeros((1, *table.shape[1:]), table.dtype)
    if cameras.ndim == 2:
        each = camera_rows(table, cameras.reshape(-1))
        return each.reshape(*cameras.shape, *table.shape[1:]).mean(1)
    if cameras.ndim != 1 or not jnp.issubdtype(cameras.dtype, jnp.integer):
        raise InputError(
            f"cameras must be integers [B], got {cameras.dtype} {tuple(cameras.shape)}"
        )
    rows = table.at[jnp.where(cameras < 0, 0, cameras)].get(mode="fill", fill_value=jnp.nan)
    of_image = cameras.reshape((-1,) + (1,) * (table.ndim - 1))
    rows = jnp.where(of_image == MEAN_CAMERA, table.mean(0), rows)
    if len(table) > 1:
        rows = jnp.where(of_image == _MEAN_FROM_ROW_1, table[1:].mean(0), rows)
    return jnp.where(of_image == NO_CAMERA, 0, rows)
