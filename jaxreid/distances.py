"""Distances between features, row by row and pairwise, with gradients that are safe at zero.

All of them are right for any offset and any scale that the dtype holds: squares are taken of
numbers that were divided by a power of two, and products of numbers about a row of their own. Sets
whose rows differ in size by more than 1e18 in float32 (1e150 in float64) are the exception: beside
the largest of them the pairwise distances of the smallest vanish.

float16 and bfloat16 are computed in float32 and returned so; float64 is computed in float64 even
where `jax_enable_x64` is off, unless it is traced: under `jit`, `grad` or `vmap` JAX has turned it
into float32 before. A row that holds NaN is at distance NaN from every row, never at zero. Numbers
below the smallest normal one (1.2e-38 in float32) may count as zero, as processors have it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxreid.checks import Sizes, check_floating, shape_of
from jaxreid.errors import InputError
from jaxreid.precision import framed, in_double, power_of_two
from jaxreid.types import Array, ArrayLike

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
    # The inner `where` keeps the untaken branch finite: 0 * inf would still be NaN. NaN stays NaN.
    vanishes = x <= 0
    return jnp.where(vanishes, 0, jnp.sqrt(jnp.where(vanishes, 1, x)))


def _largest(x: Array) -> Array:
    """The largest absolute entry of each row, [...,1]."""
    return jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis=-1, keepdims=True, initial=0)


def _rows(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Rows that correspond, in the wider of their dtypes."""
    a, b = check_floating("x", x), check_floating("y", y)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"x and y must have shape [...,D] with the same D, got {shape_of(x)} and {shape_of(y)}"
        )
    if a.ndim != b.ndim and min(a.ndim, b.ndim) > 1:
        raise InputError(
            f"x and y must have as many axes, or one of them be a single row [D], "
            f"got {shape_of(x)} and {shape_of(y)}"
        )
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise InputError(
            f"x and y must have the same leading axes, or axes of size 1, "
            f"got {shape_of(x)} and {shape_of(y)}"
        ) from None
    return a, b


@in_double
def squared_euclidean(
    x: Float[ArrayLike, "... D"], y: Float[ArrayLike, "... D"]
) -> Float[Array, "..."]:
    """Squared Euclidean distance of corresponding rows, ``sum_d (x_d - y_d)^2``.

    Args:
        x: [...,D] floating point features.
        y: [...,D] floating point features, same unit, with as many axes; leading axes of size 1
            broadcast, and so does a single row [D].

    Returns:
        [...] squared unit of the features, >= 0, float32 at least. A square beyond the largest
        number of the dtype is infinite, and one below the smallest is 0.

    Raises:
        InputError: on anything but floating point arrays whose shapes fit.
    """
    x, y = _rows(x, y)
    return jnp.sum(jnp.square(x - y), axis=-1)


@in_double
def euclidean(x: Float[ArrayLike, "... D"], y: Float[ArrayLike, "... D"]) -> Float[Array, "..."]:
    """Euclidean distance of corresponding rows, ``sqrt(sum_d (x_d - y_d)^2)``.

    Args:
        x: [...,D] floating point features.
        y: [...,D] floating point features, same unit, with as many axes; leading axes of size 1
            broadcast, and so does a single row [D].

    Returns:
        [...] unit of the features, >= 0, float32 at least; its gradient is zero where x equals y.

    Raises:
        InputError: on anything but floating point arrays whose shapes fit.
    """
    x, y = _rows(x, y)
    difference = x - y
    power = power_of_two(_largest(difference))
    length = _safe_sqrt(jnp.sum(jnp.square(difference * (1 / power)), axis=-1))
    return length * power[..., 0]


def _lifted(x: Array) -> Array:
    """Numbers below the smallest normal one, times its inverse; of others, something finite.

    Read from the bits: XLA's CPU programs take such numbers for zero.
    """
    info = jnp.finfo(x.dtype)
    word = jnp.uint32 if info.bits == 32 else jnp.uint64
    bits = jax.lax.bitcast_convert_type(x, word)
    mantissa = (bits & ((1 << info.nmant) - 1)).astype(x.dtype)
    return jnp.where(bits >> (info.bits - 1) > 0, -mantissa, mantissa) * float(info.eps)


# One program outside `jit` too, as the pairwise distances are.
@jax.jit
def _normalized(x: Array) -> Array:
    largest = _largest(x)
    tiny = largest < jnp.finfo(x.dtype).tiny
    scaled = x * (1 / jnp.where(tiny, 1, power_of_two(largest)))
    lifted = jax.lax.stop_gradient(_lifted(x) - scaled)
    scaled = scaled + jnp.where(tiny, lifted, 0)
    norm = _safe_sqrt(jnp.sum(jnp.square(scaled), axis=-1, keepdims=True))
    # A row that holds NaN or infinity has no direction: all of it is NaN.
    usable = jnp.where(norm < jnp.inf, norm, jnp.nan)
    return scaled / jnp.where(norm == 0, 1, usable)


@in_double
def l2_normalize(x: Float[ArrayLike, "... D"]) -> Float[Array, "... D"]:
    """Scales rows to unit length, ``x / ||x||``; a zero row stays zero.

    Args:
        x: [...,D] floating point features, of any size that their dtype holds.

    Returns:
        [...,D] without unit, float32 at least; its gradient is finite everywhere (at a zero row
        that of x itself). A row that holds NaN or infinity is NaN.

    Raises:
        InputError: on anything but a floating point array with at least one axis.
    """
    rows = check_floating("x", x)
    if rows.ndim == 0:
        raise InputError(f"x must have shape [...,D], got {shape_of(x)}")
    return _normalized(rows)


# The derivatives are written down because those of the steps above leave the dtype where the
# squares do, though 2 (x - y) and (x - y) / d do not.
@jax.custom_jvp
def _pairwise_squared(x: Array, y: Array) -> Array:
    frame = framed(x, y)
    return frame.scaled_back(frame.scaled_back(frame.squares()))


@_pairwise_squared.defjvp
def _pairwise_squared_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    frame = framed(*primals)
    squares = frame.scaled_back(frame.scaled_back(frame.squares()))
    return squares, 2 * frame.scaled_back(frame.half_slope(*tangents))


@jax.jit
def comparable_squares(x: Float[Array, "M D"], y: Float[Array, "N D"]) -> Float[Array, "M N"]:
    """Squared Euclidean distances in a unit of their own, to be compared with each other only.

    Args:
        x: [M,D] float32 or float64 features.
        y: [N,D] of the same dtype, same unit, N > 0.

    Returns:
        [M,N] of that dtype; neither infinite nor zero where the distances are not.
    """
    return framed(x, y).squares()


@jax.custom_jvp
def _pairwise_root(x: Array, y: Array) -> Array:
    frame = framed(x, y)
    return frame.scaled_back(_safe_sqrt(frame.squares()))


@_pairwise_root.defjvp
def _pairwise_root_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    frame = framed(*primals)
    length = _safe_sqrt(frame.squares())
    inverse = jnp.where(length == 0, 0, 1 / jnp.where(length == 0, 1, length))
    return frame.scaled_back(length), inverse * frame.half_slope(*tangents)


# Compiled as one program outside `jit` too: otherwise every step would pass over [M,N].
_compiled_squared, _compiled_root = jax.jit(_pairwise_squared), jax.jit(_pairwise_root)


def _sets(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Two sets of rows in the wider of their dtypes."""
    sizes = Sizes()
    sizes.check("x", x, "MD")
    sizes.check("y", y, "ND")
    a, b = check_floating("x", x), check_floating("y", y)
    dtype = jnp.promote_types(a.dtype, b.dtype)
    return a.astype(dtype), b.astype(dtype)


@in_double
def pairwise_squared_euclidean(
    x: Float[ArrayLike, "M D"], y: Float[ArrayLike, "N D"]
) -> Float[Array, "M N"]:
    """All squared Euclidean distances, ``||x_i||^2 + ||y_j||^2 - 2 x_i . y_j``, clamped at zero.

    The products are of rows about the row of y that is nearest to their mean, so they do not lose
    what distinguishes rows far from the origin.

    Args:
        x: [M,D] floating point features.
        y: [N,D] floating point features, same unit.

    Returns:
        [M,N] squared unit of the features, >= 0, float32 at least. Differences below about 1e-7 of
        the squared distances from that row are lost in float32. A square beyond the largest number
        of the dtype is infinite, and one below the smallest is 0: `pairwise_euclidean` has neither.
        A row that holds NaN or infinity is at distance NaN from all.

    Raises:
        InputError: on anything but floating point arrays [M,D] and [N,D].
    """
    x, y = _sets(x, y)
    return _compiled_squared(x, y) if x.size and y.size else jnp.zeros((len(x), len(y)), x.dtype)


@in_double
def pairwise_euclidean(
    x: Float[ArrayLike, "M D"], y: Float[ArrayLike, "N D"]
) -> Float[Array, "M N"]:
    """All Euclidean distances, ``sqrt(||x_i||^2 + ||y_j||^2 - 2 x_i . y_j)``.

    Args:
        x: [M,D] floating point features.
        y: [N,D] floating point features, same unit.

    Returns:
        [M,N] unit of the features, >= 0, float32 at least, computed as by
        `pairwise_squared_euclidean`; the gradient of a zero distance is zero.

    Raises:
        InputError: on anything but floating point arrays [M,D] and [N,D].
    """
    x, y = _sets(x, y)
    return _compiled_root(x, y) if x.size and y.size else jnp.zeros((len(x), len(y)), x.dtype)


@in_double
def pairwise_cosine(x: Float[ArrayLike, "M D"], y: Float[ArrayLike, "N D"]) -> Float[Array, "M N"]:
    """All cosine distances, ``1 - x_i . y_j / (||x_i|| ||y_j||)``.

    Computed as ``|| x_i / ||x_i|| - y_j / ||y_j|| ||^2 / 2``, which does not lose the distances of
    rows that are nearly parallel.

    Args:
        x: [M,D] floating point features.
        y: [N,D] floating point features.

    Returns:
        [M,N] in [0, 2] up to rounding, without unit, float32 at least; the distance to a zero row
        is 1. A row that holds NaN or infinity is at distance NaN from all.

    Raises:
        InputError: on anything but floating point arrays [M,D] and [N,D].
    """
    x, y = _sets(x, y)
    if not (x.size and y.size):
        return jnp.ones((len(x), len(y)), x.dtype)
    x, y = _normalized(x), _normalized(y)
    vanish = jnp.all(x == 0, axis=1)[:, None] | jnp.all(y == 0, axis=1)[None, :]
    distances = _compiled_squared(x, y) / 2
    # A zero row is at distance 1 even of what is not finite; that one must say NaN.
    return jnp.where(vanish & ~jnp.isnan(distances), 1, distances)
