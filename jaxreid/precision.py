"""Corners of a dtype: float64 where it is given, and scales (powers of two) that round nothing."""

import functools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.types import Array

__all__ = [
    "Frame",
    "at_least_float32",
    "finite_part",
    "framed",
    "group_means",
    "in_double",
    "largest_of_images",
    "moderate",
    "over_largest",
    "power_of_two",
]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def at_least_float32(x: Array) -> Array:
    """The same numbers in float32, or in float64 where they are: what half precision is summed in.

    Args:
        x: floating point of any shape.

    Returns:
        x, not below float32.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _is_double(x: object) -> bool:
    return isinstance(x, np.ndarray | jax.Array) and x.dtype == np.float64


def in_double(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Computes in float64 what is given in float64, though `jax_enable_x64` be off.

    JAX would turn it into float32 without a word. Traced arguments have their dtype already and are
    left alone; so is everything where an argument is traced. Results are JAX arrays of float64; JAX
    turns them into float32 as soon as it computes with them elsewhere, NumPy does not.
    """

    @functools.wraps(function)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if jax.config.read("jax_enable_x64"):
            return function(*args, **kwargs)
        leaves = jax.tree.leaves((args, kwargs))
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        if traced or not any(map(_is_double, leaves)):
            return function(*args, **kwargs)
        # Evaluated here and now: a program that is being traced around it holds no float64.
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            return function(*args, **kwargs)

    return call


def power_of_two(largest: Array) -> Array:
    """A power of two by which numbers up to `largest` can be divided before they are squared.

    Products with it and with its inverse are exact. No derivative flows through it.

    Args:
        largest: [...] float32 or float64, >= 0.

    Returns:
        [...] within a factor of 2 of `largest`, or of a limit where its inverse or squares would
        leave the dtype; 1 where `largest` is zero or NaN.
    """
    info = jnp.finfo(largest.dtype)
    limit = 2.0 ** (info.maxexp * 4 // 5)
    largest = jax.lax.stop_gradient(largest)
    power = jax.lax.reduce_precision(jnp.clip(largest, 1 / limit, limit), info.nexp, 0)
    return jnp.where(largest > 0, power, jnp.ones_like(power))


def _dot(x: Array, y: Array) -> Array:
    # Full float32 products: TF32 and bfloat16, defaults of accelerators, reorder close neighbours.
    return jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)


class Frame(NamedTuple):
    """Rows about one of y, divided by powers of two: what a matrix product can take.

    Attributes:
        x: [M,D].
        y: [N,D].
        powers: [] each, by which x and y were divided, one after the other.
    """

    x: Array
    y: Array
    powers: tuple[Array, Array]

    def scaled_back(self, values: Array) -> Array:
        """Distances [M,N] of the frame in the unit of the rows; squares need it twice."""
        # One after the other: their product may leave the dtype where the result does not.
        return values * self.powers[0] * self.powers[1]

    def squares(self) -> Array:
        """Squared distances [M,N] of the rows in the unit of the frame, >= 0."""
        x_norm, y_norm = (jnp.sum(jnp.square(rows), axis=1) for rows in (self.x, self.y))
        return jnp.maximum(x_norm[:, None] + y_norm[None, :] - 2 * _dot(self.x, self.y), 0)

    def half_slope(self, dx: Array, dy: Array) -> Array:
        """Half the change [M,N] of `squares` when x [M,D] moves by dx and y [N,D] by dy."""
        x_norm, y_norm = jnp.sum(self.x * dx, axis=1), jnp.sum(self.y * dy, axis=1)
        return x_norm[:, None] + y_norm[None, :] - _dot(dx, self.y) - _dot(self.x, dy)


def _central_row(y: Array, usable: Array) -> Array:
    """The row of y [N,D] nearest to their mean, [D].

    A row and not the mean: rows that are close to each other are subtracted without rounding, and a
    few that are far away do not draw it out from among the others.
    """
    count = jnp.maximum(jnp.sum(usable), 1).astype(y.dtype)
    mean = jnp.sum(jnp.where(usable, y, 0), axis=0) / count
    distance = jnp.where(usable[:, 0], jnp.sum(jnp.square(y - mean), axis=1), jnp.inf)
    row = y[jnp.argmin(distance)]
    return jnp.where(jnp.isfinite(row), row, 0)


def framed(x: Array, y: Array) -> Frame:
    """Moves and scales rows x [M,D] and y [N,D], N > 0, so that their squares stay in the dtype.

    A row that is not finite is NaN in the frame, and spoils no other.
    """

    def divided(x: Array, y: Array) -> tuple[Array, Array, Array]:
        largest = [jnp.max(jnp.where(jnp.isfinite(z), jnp.abs(z), 0), initial=0) for z in (x, y)]
        power = power_of_two(jnp.maximum(*largest))
        return x * (1 / power), y * (1 / power), power

    # A row that is not finite must spoil its own distances only.
    usable = jnp.all(jnp.isfinite(y), axis=1, keepdims=True)
    x = jnp.where(jnp.all(jnp.isfinite(x), axis=1, keepdims=True), x, jnp.nan)
    x, y, first = divided(x, jnp.where(usable, y, jnp.nan))
    # Of y alone: the distances of a row of x must not depend on the others in its batch.
    centre = jax.lax.stop_gradient(_central_row(y, usable))
    x, y, second = divided(x - centre, y - centre)
    return Frame(x, y, (first, second))


def group_means(features: Array, member: Array, groups: int) -> tuple[Array, Array]:
    """Mean features of groups, which stay in the dtype though sums may not, and the groups' sizes.

    Args:
        features: [N,D] float32 or float64.
        member: [N] integer, the group of each; what is of none of 0..K-1 is left out.
        groups: K.

    Returns:
        Means [K,D], zero for an empty group, and sizes [K].
    """
    counts = jnp.bincount(member, length=groups + 1)[:-1]
    taken = jnp.where((member < groups)[:, None], features, 0)
    # Divided by a power of two, which rounds nothing: a sum may leave the dtype.
    most = 2.0 ** len(member).bit_length()
    large = jnp.max(jnp.abs(taken), initial=0) > jnp.finfo(features.dtype).max / most
    power = jnp.where(large, jnp.asarray(most, features.dtype), 1)
    totals = jax.ops.segment_sum(taken / power, member, num_segments=groups + 1)[:-1]
    return totals / jnp.maximum(counts, 1)[:, None].astype(features.dtype) * power, counts


def finite_part(x: Array) -> Array:
    """Zero in place of NaN and infinity."""
    return jnp.where(jnp.isfinite(x), x, 0)


def largest_of_images(x: Array) -> Array:
    """The largest absolute value of each image: [B,H,W,C] -> [B,1,1,1]."""
    return jnp.max(jnp.abs(x), axis=(1, 2, 3), keepdims=True)


def moderate(x: Array) -> Array:
    """Each image [B,H,W,C] times a power of two that keeps its sum, and its reciprocal, in range.

    A power of two changes no digit. XLA divides by multiplying with the reciprocal, which is zero
    for the largest float32 numbers: so one cannot divide by the largest entry straight away.
    """
    reach = jnp.finfo(x.dtype).maxexp // 2
    largest = largest_of_images(x)
    shrink = jnp.where(largest > 2.0 ** (reach - 4), 2.0**-reach, 1.0)
    factor = jnp.where(largest < 2.0 ** -(reach - 4), 2.0**reach, shrink)
    return x * factor.astype(x.dtype)


def over_largest(x: Array) -> Array:
    """Each image [B,H,W,C] divided by its largest absolute value; a zero image stays zero."""
    x = moderate(x)
    largest = largest_of_images(x)
    return x / jnp.where(largest > 0, largest, 1)
