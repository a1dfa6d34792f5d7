"""Checks of what callers pass in: shapes and dtypes at trace time, values where they are concrete.

Value checks read an array only outside `jit`. Inside they cost nothing because they do nothing,
except where they are staged (`jaxreid.staging`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.staging import refuse_when_run
from jaxreid.types import Array, ArrayLike

__all__ = [
    "Sizes",
    "check_features",
    "check_images",
    "check_integers",
    "check_nonnegative",
    "check_values",
    "shape_of",
]


def shape_of(x: ArrayLike) -> str:
    """Describes an array for a message, as in ``[8,256,128,3] float32``.

    Args:
        x: any array.

    Returns:
        Its shape in brackets and its dtype.
    """
    return f"[{','.join(map(str, np.shape(x)))}] {x.dtype}"


class Sizes:
    """Remembers the size of each shape letter and which argument set it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, str]] = {}

    def check(self, name: str, x: ArrayLike, letters: str) -> None:
        """Checks rank and sizes of an argument against those seen before.

        Args:
            name: the argument's name, for the message.
            x: an array of any dtype.
            letters: one shape letter per axis, as in ``"BHWC"``.

        Raises:
            InputError: if it is no array, the rank differs or a letter has two sizes.
        """
        expected = f"[{','.join(letters)}]"
        if not hasattr(x, "dtype"):
            raise InputError(
                f"{name} must be an array of shape {expected}, got a {type(x).__name__}"
            )
        if np.ndim(x) != len(letters):
            raise InputError(f"{name} must have shape {expected}, got {shape_of(x)}")
        for letter, size in zip(letters, np.shape(x), strict=True):
            known, owner = self._known.setdefault(letter, (size, name))
            if known != size:
                raise InputError(
                    f"{name} must have shape {expected} with {letter}={known} as in {owner}, "
                    f"got {shape_of(x)}"
                )


def _is_known(x: float | ArrayLike) -> bool:
    """Whether the values can be read here and now."""
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)


def check_values(x: float | ArrayLike, holds: Callable[[Array], Array], message: str) -> None:
    """Checks the values of an array if they are known yet, or when the program runs if staged.

    Args:
        x: an array or scalar of any dtype, traced or concrete.
        holds: maps it to booleans that must all be true.
        message: what was expected, and of what.

    Raises:
        InputError: if x is concrete and does not hold.
    """
    if not _is_known(x):
        if isinstance(x, jax.core.Tracer):
            refuse_when_run(x, holds, message)
        return
    with jax.ensure_compile_time_eval():
        fine = bool(jnp.all(holds(jnp.asarray(x))))
    if not fine:
        raise InputError(message)


def check_nonnegative(name: str, value: float | ArrayLike) -> None:
    """Checks that a budget, a step or a decay is a number of at least 0.

    Args:
        name: the argument's name, for the message.
        value: a number or an array of any shape.

    Raises:
        InputError: if it is concrete and negative, NaN or infinite.
    """
    check_values(
        value,
        lambda x: (x >= 0) & jnp.isfinite(x),
        f"{name} must be finite and at least 0, got {value}",
    )


def check_images(name: str, images: ArrayLike) -> Array:
    """Checks a batch of images and returns it as a JAX array.

    Args:
        name: the argument's name, for the message.
        images: [B,H,W,C] float32 or float64 in [0, 1].

    Returns:
        The same images.

    Raises:
        InputError: on another rank, an empty batch, integers, half precision, values outside
            [0, 1] or NaN.
    """
    Sizes().check(name, images, "BHWC")
    if images.size == 0:
        raise InputError(f"{name} is empty: {shape_of(images)}; expected at least one image")
    if images.dtype not in (np.float32, np.float64):
        hint = (
            "divide 8-bit images by 255"
            if np.issubdtype(images.dtype, np.integer)
            else "steps of 1/255 are lost in half precision: compute in it inside embed instead"
        )
        raise InputError(f"{name} must be float32 or float64 in [0, 1], got {images.dtype}; {hint}")
    check_values(
        images,
        lambda x: (x >= 0) & (x <= 1),
        f"{name} must lie in [0, 1] (no NaN); divide 8-bit images by 255 and let the model "
        "normalise by mean and deviation itself",
    )
    return jnp.asarray(images)


def check_features(name: str, features: ArrayLike) -> Array:
    """Checks that features are floating point and finite, and returns them as a JAX array.

    Args:
        name: the argument's name, for the message.
        features: [...,D] floating point.

    Returns:
        The same features, in float32 at least.

    Raises:
        InputError: on integers, NaN or infinity.
    """
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise InputError(f"{name} must be floating point features, got {shape_of(features)}")
    check_values(features, jnp.isfinite, f"{name} must be finite, but holds NaN or infinity")
    return jnp.asarray(features, jnp.promote_types(features.dtype, jnp.float32))


def check_integers(name: str, values: ArrayLike) -> Array:
    """Checks that identities, cameras or indices are integers; returns them as a JAX array.

    Args:
        name: the argument's name, for the message.
        values: array of any shape.

    Returns:
        The same values as int32.

    Raises:
        InputError: on any other dtype, or values that int32 cannot hold.
    """
    if not jnp.issubdtype(values.dtype, jnp.integer):
        raise InputError(f"{name} must be integers, got {shape_of(values)}")
    # JAX would wrap wider ones without a word: two people 2^32 apart would become one.
    if not np.can_cast(values.dtype, np.int32) and _is_known(values) and values.size:
        host, limits = np.asarray(values), np.iinfo(np.int32)
        low, high = int(host.min()), int(host.max())
        if low < limits.min or high > limits.max:
            raise InputError(
                f"{name} must fit in 32 bits, got values from {low} to {high}; number them anew, "
                "as in numpy.unique(values, return_inverse=True)"
            )
    return jnp.asarray(values, jnp.int32)
