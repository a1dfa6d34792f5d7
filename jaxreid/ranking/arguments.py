"""Checks of what callers hand to the functions of this room, all of which run on the host."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import Sizes, check_integers, shape_of, shown
from jaxreid.errors import InputError
from jaxreid.types import ArrayLike

__all__ = [
    "check_array",
    "check_devices",
    "check_features",
    "check_progress",
    "check_type",
    "fields_of",
    "host_flags",
    "host_integers",
]

_INT32 = np.iinfo(np.int32)


def check_type(name: str, value: object, expected: type) -> None:
    """Checks that an argument is what it should be.

    Args:
        name: of the argument, for the message.
        value: what was passed.
        expected: its class.

    Raises:
        InputError: if it is of another class.
    """
    if not isinstance(value, expected):
        raise InputError(f"{name} must be a {expected.__name__}, got a {type(value).__name__}")


def fields_of(name: str, value: object, fields: Sequence[str], expected: str) -> None:
    """Checks that an argument has the fields that will be read.

    Args:
        name: of the argument, for the message.
        value: what was passed.
        fields: their names.
        expected: the class that has them, for the message.

    Raises:
        InputError: if one is missing.
    """
    if not all(hasattr(value, field) for field in fields):
        raise InputError(
            f"{name} must be {expected} ({', '.join(fields)}), got a {type(value).__name__}"
        )


def check_array(name: str, x: ArrayLike, letters: str, sizes: Sizes | None = None) -> None:
    """Checks that an argument is an array whose values can be read here, and its shape.

    Args:
        name: of the argument, for the message.
        x: what was passed.
        letters: one shape letter per axis.
        sizes: what the letters stand for so far.

    Raises:
        InputError: if it is no array of NumPy or JAX, is masked, traced or spread over other
            processes, or has another shape.
    """
    expected = f"[{','.join(letters)}]"
    if not isinstance(x, np.ndarray | jax.Array) or isinstance(x, np.ma.MaskedArray):
        raise InputError(
            f"{name} must be an array of shape {expected}, of NumPy or JAX, got a "
            f"{type(x).__name__}"
        )
    if isinstance(x, jax.core.Tracer):
        raise InputError(f"{name} is not known yet: ranking runs on the host, not under jit")
    if not getattr(x, "is_fully_addressable", True):
        raise InputError(f"{name} is spread over several processes; gather it first")
    (sizes or Sizes()).check(name, x, letters)


def check_features(name: str, x: ArrayLike, letters: str, sizes: Sizes) -> None:
    """Checks shape and dtype of features.

    Args:
        name: of the argument, for the message.
        x: [N,D] floating point of at most 64 bits.
        letters: one shape letter per axis.
        sizes: what the letters stand for so far.

    Raises:
        InputError: on another shape or dtype, or features without a single number.
    """
    check_array(name, x, letters, sizes)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"{name} must be floating point, got {shape_of(x)}")
    if x.dtype.itemsize > 8:
        raise InputError(f"{name} must be floating point of at most 64 bits, got {shape_of(x)}")
    if x.shape[1] == 0:
        raise InputError(f"{name} must have at least one dimension D, got {shape_of(x)}")


def host_integers(
    name: str, x: ArrayLike, letters: str, sizes: Sizes | None = None, *, least: int | None = None
) -> np.ndarray:
    """Checks that an argument is an array of integers, and brings it to the host.

    Args:
        name: of the argument, for the message.
        x: integers of any shape.
        letters: one shape letter per axis.
        sizes: what the letters stand for so far.
        least: the smallest that is allowed, or None.

    Returns:
        The same values, NumPy.

    Raises:
        InputError: on another shape or dtype, or values that int32 cannot hold or below `least`.
    """
    check_array(name, x, letters, sizes)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise InputError(f"{name} must be integers, got {shape_of(x)}")
    values = np.asarray(x)
    if values.size and (values.min() < _INT32.min or values.max() > _INT32.max):
        check_integers(name, values)  # says what to do
    if least is not None and values.size and values.min() < least:
        raise InputError(f"{name} must be at least {least}, got {values.min()}")
    return values


def host_flags(name: str, x: ArrayLike, letters: str, sizes: Sizes) -> np.ndarray:
    """Checks that an argument is an array of booleans, and brings it to the host.

    Args:
        name: of the argument, for the message.
        x: booleans of any shape.
        letters: one shape letter per axis.
        sizes: what the letters stand for so far.

    Returns:
        The same values, NumPy.

    Raises:
        InputError: on another shape or dtype.
    """
    check_array(name, x, letters, sizes)
    if x.dtype != np.bool_:
        raise InputError(f"{name} must be boolean, got {shape_of(x)}")
    return np.asarray(x)


def check_devices(devices: Sequence[jax.Device] | None) -> list[jax.Device]:
    """Checks the devices to run on.

    Args:
        devices: some of JAX's, or None for all local ones.

    Returns:
        At least one device, none twice.

    Raises:
        InputError: if there is none, one is named twice, or something is no device.
    """
    if devices is None:
        return jax.local_devices()
    if isinstance(devices, np.ndarray):
        devices = devices.ravel().tolist()
    if not isinstance(devices, Sequence) or not all(isinstance(d, jax.Device) for d in devices):
        raise InputError(f"devices must be a sequence of jax.Device, got {shown(devices)}")
    if not devices:
        raise InputError("devices is empty; expected at least one device")
    if len(set(devices)) < len(devices):
        raise InputError(f"devices must be named once each, got {shown(list(devices))}")
    return list(devices)


def check_progress(progress: Callable[[int, int], None] | None) -> None:
    """Checks that progress can be told.

    Args:
        progress: a function of (done, all of them), or None.

    Raises:
        InputError: if it cannot be called.
    """
    if progress is not None and not callable(progress):
        raise InputError(f"progress must be a function or None, got a {type(progress).__name__}")
