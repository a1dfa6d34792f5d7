"""One change for all images: how it is laid on them, smoothed, and stretched to its budget."""

import jax.numpy as jnp
from jaxtyping import Float

from jaxreid.attacks.arguments import array_of, images_of
from jaxreid.attacks.threats import linf
from jaxreid.checks import Sizes, check_number
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike, Images, ImagesLike, PerImage

__all__ = ["saturated", "shifted", "total_variation"]


def shifted(
    images: ImagesLike, change: Float[ArrayLike, "..."], *, eps: float | ArrayLike
) -> Images:
    """Images with a change laid on them, ``clip(x + d, x - eps, x + eps)`` inside [0, 1].

    Args:
        images: [B,H,W,C] floating point in [0, 1].
        change: d, [H,W,C] or [B,H,W,C] floating point, in pixel range.
        eps: budget in L-infinity, in pixel range, as `linf` takes it.

    Returns:
        [B,H,W,C] in [0, 1] and in the budget, exactly, whatever the change is.

    Raises:
        InputError: on bad images or eps, or a change of another shape.
    """
    images = images_of(images)
    moved = jnp.asarray(array_of("change", change), images.dtype)
    if moved.shape not in (images.shape, images.shape[1:]):
        raise InputError(
            f"change must be shaped like an image {list(images.shape[1:])} or like all of them "
            f"{list(images.shape)}, got {list(moved.shape)}"
        )
    return linf(eps).project(images + moved, images)


def total_variation(images: Float[ArrayLike, "B H W C"]) -> PerImage:
    """How much neighbouring pixels differ, ``2 (mean (x_(i+1,j) - x_(i,j))^2 + mean (...)^2)``.

    The second mean is of neighbours in a row: Ding et al., "Beyond Universal Person
    Re-Identification Attack", IEEE TIFS 2021, https://github.com/wenjie710/MUAP.

    Args:
        images: [B,H,W,C] floating point, of any range; or changes of images.

    Returns:
        [B] in squared unit of the pixels; a side of one pixel counts 0.

    Raises:
        InputError: on another number of axes, or no floating point.
    """
    pixels = jnp.asarray(array_of("images", images))
    Sizes().check("images", pixels, "BHWC")
    if not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise InputError(f"images must be floating point, got {pixels.dtype}")
    down, across = jnp.diff(pixels, axis=1), jnp.diff(pixels, axis=2)
    total = jnp.zeros(len(pixels), pixels.dtype)
    for steps in (down, across):
        count = max(steps[:1].size, 1)
        total = total + 2 * jnp.sum(jnp.square(steps), axis=(1, 2, 3)) / count
    return total


def saturated(
    change: Float[ArrayLike, "..."], *, eps: float | Float[ArrayLike, ""], share: float = 0.8
) -> Array:
    """A change stretched until a share of its values lies on the border, ``clip(d eps / q)``.

    q is what that share of the values exceeds in magnitude: their quantile at 1 - share. A change
    that has them there already, or whose q is 0, stays. The step between epochs of Ding et al.,
    "Beyond Universal Person Re-Identification Attack", IEEE TIFS 2021,
    https://github.com/wenjie710/MUAP.

    Args:
        change: of any shape, floating point, in pixel range, within eps.
        eps: budget in L-infinity, in pixel range, a number.
        share: in [0, 1].

    Returns:
        The same shape, within eps.

    Raises:
        InputError: on a change that is not floating point, or an eps or share out of range.
    """
    values = jnp.asarray(array_of("change", change))
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise InputError(f"change must be floating point, got {values.dtype}")
    check_number("eps", eps, lambda e: (e >= 0) & (e <= 1), "lie in [0, 1], in pixel range")
    check_number("share", share, lambda s: (s >= 0) & (s <= 1), "lie in [0, 1]")
    budget = jnp.asarray(eps, values.dtype)
    border = jnp.quantile(jnp.abs(values), 1 - share)
    stretch = jnp.where(border > 0, budget / jnp.where(border > 0, border, 1), 1)
    return jnp.clip(values * jnp.maximum(stretch, 1), -budget, budget)
