"""Checks of settings: numbers, counts, switches and random keys, traced or known."""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks.arrays import dtype_of, shape_of
from jaxreid.checks.values import check_values
from jaxreid.constants import LEVELS
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike

__all__ = [
    "as_tuple",
    "check_callable",
    "check_choice",
    "check_count",
    "check_flag",
    "check_key",
    "check_keys",
    "check_levels",
    "check_number",
    "refuse_fraction",
    "shown",
]

# More of anything that is counted than memory holds; also the largest number of rows of an index.
_MOST = 2**31 - 1
# Grey levels of the largest budget in use, and how far from a whole number float32 rounds it.
_MOST_LEVELS, _NEAR = 32, 1e-4


def shown(value: object) -> str:
    """A value for a message, at most 60 characters in one line; of an array its shape."""
    if isinstance(value, np.ndarray | jax.Array) and np.ndim(value):
        return shape_of(value)
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_tuple(config: object, name: str) -> None:
    """Turns a list or array in a field of a frozen dataclass into a tuple, so that it hashes."""
    value = getattr(config, name)
    if isinstance(value, list | np.ndarray):
        object.__setattr__(config, name, tuple(np.asarray(value).tolist()))


def check_number(
    name: str,
    value: float | ArrayLike,
    holds: Callable[[Any], Any],
    expected: str,
    *,
    axes: int | None = 0,
) -> None:
    """Checks that a setting is a real number, and its value if that is known yet.

    Args:
        name: the argument's name, for the message.
        value: a number, or an array of real numbers; no booleans.
        holds: maps it to booleans that must all be true.
        expected: what was expected, for the message, as in "be at least 0".
        axes: most axes that an array may have; None allows any number.
    """
    message = f"{name} must {expected}, got {shown(value)}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        dtype: np.dtype | None = np.dtype(float)
    else:
        dtype = dtype_of(value)
    real = dtype is not None and any(
        jnp.issubdtype(dtype, kind) for kind in (jnp.integer, jnp.floating)
    )
    if not real or (axes is not None and np.ndim(value) > axes):
        raise InputError(message)
    check_values(value, holds, message)


def check_levels(name: str, value: float) -> None:
    """Checks a budget or a step size for linf, in 1/255 of the pixel range: above 0, at most 255.

    Args:
        name: the argument's name, for the message.
        value: it should be a number of grey levels, such as 5.
    """
    expected = f"be above 0 and at most {LEVELS}, in 1/{LEVELS} of the pixel range"
    check_number(name, value, lambda v: (v > 0) & (v <= LEVELS), expected)
    refuse_fraction(name, float(value))


def refuse_fraction(name: str, value: float) -> None:
    """Refuses 5/255 for 5 grey levels: an attack of 0.02 of them would show a robust network.

    Args:
        name: the argument's name, for the message.
        value: a number in 1/255 of the pixel range. Refused are whole numbers over 255, up to
            32/255; of others below one grey level nobody can say that they were not meant.
    """
    levels = round(LEVELS * value)
    if 1 <= levels <= _MOST_LEVELS and abs(LEVELS * value - levels) < _NEAR:
        raise InputError(
            f"{name} is in 1/{LEVELS} of the pixel range: for {levels}/{LEVELS} it is {levels}, "
            f"got {value:.6g}"
        )


def check_count(name: str, value: Any, *, least: int = 0, most: int = _MOST, of: str = "") -> int:
    """Checks a number of things that becomes a shape: an integer known before tracing.

    `of` is what `most` is the number of, for the message.
    """
    try:
        # A boolean is an index to Python, and never meant as a number here.
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise InputError(f"{name} must be an integer known before tracing, got {shown(value)}")
    if number < least and not of:
        raise InputError(f"{name} must be at least {least}, got {number}")
    if not least <= number <= most:
        raise InputError(
            f"{name} must be {least} to {most}{', ' * bool(of)}{of}, got {shown(number)}"
        )
    return number


def check_flag(name: str, value: object) -> bool:
    """Checks that a switch is True or False: what any other value means is unclear."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_choice(name: str, value: object, options: Iterable[str]) -> str:
    """Checks that a setting is one of some words."""
    known = sorted(options)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} must be one of {known}, got {shown(value)}")
    return value


def check_callable(name: str, function: object, form: str) -> None:
    """Checks that an argument can be called; `form` says as what: "images [B,H,W,C] -> [B]"."""
    if not callable(function):
        raise InputError(f"{name} must be a function {form}, got {shown(function)}")


def check_key(name: str, key: Array) -> int:
    """Checks that an argument is a random key of JAX, or a batch [B] of them, old kind or new.

    Returns the number of its axes: 0 for a single key, 1 for a batch.
    """
    expected = f"{name} must be a JAX random key, as jax.random.key(0), or [B] of them"
    if not (hasattr(key, "shape") and hasattr(key, "dtype")):
        raise InputError(f"{expected}, got {shown(key)}")
    shape = tuple(key.shape)
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        axes = len(shape)
    else:
        # A key of the old kind is words of 32 bits; how many depends on the generator.
        # A new function each time: the shape of one that was traced before would be remembered.
        words = jax.eval_shape(lambda: jax.random.PRNGKey(0)).shape[-1]
        axes = len(shape) - 1 if dtype_of(key) == np.uint32 and shape[-1:] == (words,) else -1
    if axes not in (0, 1):
        raise InputError(f"{expected}, got {shape_of(key)}")
    return axes


def check_keys(name: str, keys: Array) -> None:
    """Checks that an argument is a batch [B] of random keys, one for each image or row."""
    if check_key(name, keys) != 1:
        raise InputError(f"{name} must be [B], one per row, got {shape_of(keys)}")
