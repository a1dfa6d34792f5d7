"""Corners of a dtype: float64 where it is given, and scales that round nothing."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.types import Array

__all__ = [
    "finite_part",
    "in_double",
    "largest_of_images",
    "moderate",
    "over_largest",
    "power_of_two",
]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _is_double(x: Any) -> bool:
    return isinstance(x, np.ndarray | jax.Array) and x.dtype == np.float64


def in_double(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Computes in float64 what is given in float64, though `jax_enable_x64` be off.

    JAX would turn it into float32 without a word. Traced arguments have their dtype already and are
    left alone; so is everything where an argument is traced.

    Args:
        function: of arrays, returning arrays.

    Returns:
        The same function. Its float64 results are JAX arrays of float64; JAX turns them into
        float32 as soon as it computes with them elsewhere, NumPy does not.
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


def finite_part(x: Array) -> Array:
    """Zero in place of NaN and infinity.

    Args:
        x: [...] floating point.

    Returns:
        [...], finite.
    """
    return jnp.where(jnp.isfinite(x), x, 0)


def largest_of_images(x: Array) -> Array:
    """The largest absolute value of each image.

    Args:
        x: [B,H,W,C] floating point.

    Returns:
        [B,1,1,1].
    """
    return jnp.max(jnp.abs(x), axis=(1, 2, 3), keepdims=True)


def moderate(x: Array) -> Array:
    """Each image times a power of two that keeps its sum, and its reciprocal, in range.

    A power of two changes no digit. XLA divides by multiplying with the reciprocal, which is zero
    for the largest float32 numbers: so one cannot divide by the largest entry straight away.

    Args:
        x: [B,H,W,C] floating point.

    Returns:
        [B,H,W,C].
    """
    reach = jnp.finfo(x.dtype).maxexp // 2
    largest = largest_of_images(x)
    shrink = jnp.where(largest > 2.0 ** (reach - 4), 2.0**-reach, 1.0)
    factor = jnp.where(largest < 2.0 ** -(reach - 4), 2.0**reach, shrink)
    return x * factor.astype(x.dtype)


def over_largest(x: Array) -> Array:
    """Each image divided by its largest absolute value; a zero image stays zero.

    Args:
        x: [B,H,W,C] floating point.

    Returns:
        [B,H,W,C] in [-1, 1].
    """
    x = moderate(x)
    largest = largest_of_images(x)
    return x / jnp.where(largest > 0, largest, 1)
