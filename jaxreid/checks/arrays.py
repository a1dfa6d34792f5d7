"""Checks of arrays: shapes and dtypes at trace time, values as `jaxreid.checks.values` can."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks.values import check_values, is_finite, is_known
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike, Embed, Features, Images, ImagesLike

__all__ = [
    "Sizes",
    "check_array",
    "check_features",
    "check_floating",
    "check_images",
    "check_integers",
    "checked_features",
    "dtype_of",
    "shape_of",
]

# What JAX computes in; longdouble it lacks, and 8-bit floats promote to nothing.
_FLOATING = ("float16", "bfloat16", "float32", "float64")


def dtype_of(x: object) -> np.dtype | None:
    """The dtype; None of lists, masked arrays, random keys and the tensors of other libraries."""
    if isinstance(x, np.ma.MaskedArray) or not (hasattr(x, "shape") and hasattr(x, "dtype")):
        return None
    try:
        return np.dtype(x.dtype)
    except TypeError:
        return None


def shape_of(x: ArrayLike) -> str:
    """An array for a message, as in ``[8,256,128,3] float32``; of anything else the type."""
    if isinstance(x, np.ma.MaskedArray):
        return "a masked array"
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        return f"a {type(x).__name__}"
    return f"[{','.join(map(str, x.shape))}] {x.dtype}"


def check_array(name: str, x: ArrayLike, shape: str = "") -> np.dtype:
    """Checks that an argument is an array of NumPy or JAX, and returns its dtype.

    Refuses lists, numbers, None, masked arrays, random keys and the tensors of other libraries;
    `shape` is what it should have been, for the message.
    """
    dtype = dtype_of(x)
    if dtype is None:
        raise InputError(
            f"{name} must be an array{' of shape ' * bool(shape)}{shape}, got {shape_of(x)}"
        )
    return dtype


class Sizes:
    """Remembers the size of each shape letter and which argument set it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, str]] = {}

    def check(self, name: str, x: ArrayLike, letters: str) -> None:
        """Checks rank and sizes of an array against those seen before.

        `letters` has one shape letter per axis, as in ``"BHWC"``; a letter has one size.
        """
        expected = f"[{','.join(letters)}]"
        check_array(name, x, expected)
        if len(x.shape) != len(letters):
            raise InputError(f"{name} must have shape {expected}, got {shape_of(x)}")
        for letter, size in zip(letters, x.shape, strict=True):
            known, owner = self._known.setdefault(letter, (size, name))
            if known != size:
                raise InputError(
                    f"{name} must have shape {expected} with {letter}={known} as in {owner}, "
                    f"got {shape_of(x)}"
                )


def check_images(name: str, images: ImagesLike) -> Images:
    """Checks images [B,H,W,C], float32 or float64 in [0, 1], and returns them as a JAX array."""
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


def check_floating(name: str, x: ArrayLike) -> Array:
    """Checks that an array is floating point and returns it as a JAX array of float32 at least.

    float16 and bfloat16 become float32, and so does float64 where `jax_enable_x64` is off.
    """
    dtype = check_array(name, x)
    if dtype.name not in _FLOATING:
        raise InputError(
            f"{name} must be floating point (float16, bfloat16, float32 or float64), "
            f"got {shape_of(x)}"
        )
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is looked at
        return jnp.asarray(x, jax.dtypes.canonicalize_dtype(jnp.promote_types(dtype, jnp.float32)))


def check_features(name: str, features: ArrayLike) -> Array:
    """Checks that features [...,D] are floating point and finite, and returns them as a JAX array.

    Where `jax_enable_x64` is off, float64 values that float32 cannot hold are refused.
    """
    values = check_floating(name, features)
    check_values(features, is_finite, f"{name} must be finite, but holds NaN or infinity")
    if values.dtype != features.dtype == np.float64:
        check_values(
            values,
            is_finite,
            f"{name} holds float64 values that float32 cannot hold (beyond 3.4e38): "
            "set jax_enable_x64, or divide them",
        )
    return values


def check_integers(name: str, values: ArrayLike) -> Array:
    """Checks that identities, cameras or indices are integers; returns them as int32."""
    dtype = check_array(name, values)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise InputError(f"{name} must be integers, got {shape_of(values)}")
    # JAX would wrap wider ones without a word: two people 2^32 apart would become one.
    if not np.can_cast(dtype, np.int32) and is_known(values) and values.size:
        host, limits = np.asarray(values), np.iinfo(np.int32)
        low, high = int(host.min()), int(host.max())
        if low < limits.min or high > limits.max:
            raise InputError(
                f"{name} must fit in 32 bits, got values from {low} to {high}; number them anew, "
                "as in numpy.unique(values, return_inverse=True)"
            )
    return jnp.asarray(values, jnp.int32)


def checked_features(embed: Embed, images: Images) -> Features:
    """Calls an embedding on images [B,H,W,C], and says what is wrong with what it returns.

    Returns features [B,D] in the floating point dtype that the embedding gives.
    """
    try:
        features = embed(images)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise InputError(
            "embed must be a JAX function that can be compiled and differentiated, but it reads "
            f"the values of its input ({type(error).__name__})"
        ) from error
    if not (hasattr(features, "shape") and hasattr(features, "dtype")):
        raise InputError(f"embed must return one array [B,D], got a {type(features).__name__}")
    fits = len(features.shape) == 2 and features.shape[0] == images.shape[0] and features.size > 0
    if not (fits and jnp.issubdtype(features.dtype, jnp.floating)):
        raise InputError(
            f"embed must return floating point features [B,D] with B={images.shape[0]} "
            f"for images {shape_of(images)}, got {shape_of(features)}"
        )
    return features
