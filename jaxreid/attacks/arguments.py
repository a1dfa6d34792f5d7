"""Checks of the arguments of attacks: every refusal is an InputError that names the argument.

Values are checked outside `jit` at once, and inside it when the program runs (`unchecked` turns
that off).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from jaxreid.checks import check_images, check_values, is_finite, shape_of, shown, staged
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike, Images, ImagesLike

__all__: list[str] = []  # for this package only


def array_of(name: str, value: object) -> ArrayLike:
    """Anything that can be read as an array of numbers; on the host it stays there.

    There its values are known even while a function is traced, and can be checked.
    """
    if isinstance(value, jax.Array):
        array: ArrayLike | None = value
    else:
        try:
            array = np.asarray(value)
            with np.errstate(over="ignore"):
                array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
        except jax.errors.TracerArrayConversionError:
            array = jnp.asarray(value)  # a list of arrays that are traced
        except (TypeError, ValueError, OverflowError):
            array = None
    if array is None or not (_is_real(array.dtype) or array.dtype == bool):
        raise InputError(f"{name} must be an array of real numbers, got {shown(value)}")
    return array


def _is_real(dtype: np.dtype) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer))


def images_of(images: ImagesLike) -> Images:
    """The clean images, checked."""
    if hasattr(images, "dtype") and not isinstance(images, jax.Array | np.ndarray):
        images = array_of("images", images)
    with staged():
        return check_images("images", images)


def check_amount(name: str, value: object, *, most: float = np.inf, hint: str = "") -> None:
    """Checks that a budget, a step or a decay is a number or an array of them, from 0 to `most`."""
    array = array_of(name, value)
    if array.dtype == bool:
        raise InputError(f"{name} must be a number, got {shown(value)}")
    limit = f"lie in [0, {most:g}]" if np.isfinite(most) else "be finite and at least 0"
    known = np.ndim(array) == 0 and not isinstance(array, jax.core.Tracer)
    got = f", got {value}" if known else ""
    with staged():
        check_values(
            array,
            lambda x: (x >= 0) & (x <= most) & is_finite(x),
            f"{name} must {limit}{got}{hint}",
        )


def mask_of(name: str, mask: object) -> Bool[Array, "..."]:
    """A mask as booleans; integers count as in NumPy, other numbers are no mask."""
    array = array_of(name, mask)
    if not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(f"{name} must be boolean, got {shape_of(array)}")
    return jnp.asarray(array, bool)
