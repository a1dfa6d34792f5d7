"""Checks of the arguments of this package's functions, all of which run on the host."""

from collections.abc import Callable, Sequence
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Integer

from jaxreid.checks import Sizes, check_choice, check_integers, shape_of, shown
from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.types import ArrayLike, Embedded

__all__: list[str] = []  # for this package only

Progress = Callable[[int, int], None]
"""Called with (items done, all of them)."""
Devices = Sequence[jax.Device]

_INT32 = np.iinfo(np.int32)


def check_type(name: str, value: object, expected: type) -> None:
    """Refuses an argument of another class."""
    if not isinstance(value, expected):
        raise InputError(f"{name} must be a {expected.__name__}, got a {type(value).__name__}")


def check_fields(name: str, value: object, fields: Sequence[str], expected: str) -> None:
    """Refuses an argument that lacks one of the fields that will be read."""
    if not all(hasattr(value, field) for field in fields):
        raise InputError(
            f"{name} must be {expected} ({', '.join(fields)}), got a {type(value).__name__}"
        )


def check_array(name: str, x: object, letters: str, sizes: Sizes | None = None) -> None:
    """Refuses what is no array of NumPy or JAX, has other axes, or cannot be read here and now.

    Each axis has a shape letter (`jaxreid.types`); `sizes` holds what they stand for so far.
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
    """Refuses features that are not floating point of at most 64 bits, or have no dimension."""
    check_array(name, x, letters, sizes)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"{name} must be floating point, got {shape_of(x)}")
    if x.dtype.itemsize > 8:
        raise InputError(f"{name} must be floating point of at most 64 bits, got {shape_of(x)}")
    if x.shape[1] == 0:
        raise InputError(f"{name} must have at least one dimension D, got {shape_of(x)}")


def host_integers(
    name: str, x: ArrayLike, letters: str, sizes: Sizes | None = None, *, least: int | None = None
) -> Integer[np.ndarray, "..."]:
    """Checks an array of integers that int32 can hold, and brings it to the host."""
    check_array(name, x, letters, sizes)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise InputError(f"{name} must be integers, got {shape_of(x)}")
    values = np.asarray(x)
    if values.size and (values.min() < _INT32.min or values.max() > _INT32.max):
        check_integers(name, values)  # says what to do
    if least is not None and values.size and values.min() < least:
        raise InputError(f"{name} must be at least {least}, got {values.min()}")
    return values


def host_flags(name: str, x: ArrayLike, letters: str, sizes: Sizes) -> Bool[np.ndarray, "..."]:
    """Checks an array of booleans, and brings it to the host."""
    check_array(name, x, letters, sizes)
    if x.dtype != np.bool_:
        raise InputError(f"{name} must be boolean, got {shape_of(x)}")
    return np.asarray(x)


def host_ranks(
    prefix: str, ranks: ArrayLike, mask: ArrayLike, sizes: Sizes | None = None
) -> tuple[Integer[np.ndarray, "Q M"], Bool[np.ndarray, "Q M"]]:
    """Checks ranks of matches (from 1, ascending, True first in the mask), and brings them here."""
    sizes = sizes or Sizes()
    positions = host_integers(f"{prefix}ranks", ranks, "QM", sizes)
    flags = host_flags(f"{prefix}mask", mask, "QM", sizes)
    if (flags[:, 1:] & ~flags[:, :-1]).any():
        raise InputError(f"{prefix}mask must be True first in every row, and False in padding")
    # Each rank against the one before it, and the first against none.
    if ((np.diff(positions.astype(np.int64), axis=1, prepend=0) < 1) & flags).any():
        raise InputError(f"{prefix}ranks must be 1 or more and ascend in every row")
    return positions, flags


def check_devices(devices: Devices | None) -> list[jax.Device]:
    """Refuses something that is no device, none, or one twice; None stands for all local ones."""
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


def check_progress(progress: Progress | None) -> None:
    """Refuses what cannot be called."""
    if progress is not None and not callable(progress):
        raise InputError(f"progress must be a function or None, got a {type(progress).__name__}")


def check_lists(name: str, lists: object, sizes: Sizes, **letters: str) -> None:
    """Checks fields of a search's lists, by their shape letters: two booleans, `mask` and `others`.

    Shapes and dtypes only, which are known inside a compiled program too.
    """
    expected = "a ListDistances" if "matched" in letters else "a SearchLists"
    check_fields(name, lists, tuple(letters), expected)
    for field, axes in letters.items():
        value = getattr(lists, field)
        sizes.check(f"{name}.{field}", value, axes)
        if field in ("mask", "others") and value.dtype != np.bool_:
            raise InputError(f"{name}.{field} must be boolean, got {shape_of(value)}")


def check_distances(distances: object) -> None:
    """Refuses what is no ListDistances, or has parts that do not belong together."""
    sizes = Sizes()
    check_lists("distances", distances, sizes, matched="BM", mask="BM", other="BN", others="BN")
    for field in ("matched", "other"):
        value = getattr(distances, field)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise InputError(f"distances.{field} must be floating point, got {shape_of(value)}")


def check_sets(query: Embedded, gallery: Embedded, distance: str) -> None:
    """Checks everything about a search but the values of the features."""
    for name, part, letter in (("query", query, "Q"), ("gallery", gallery, "N")):
        check_fields(name, part, Embedded._fields, "an Embedded")
        sizes = Sizes()
        check_features(f"{name}.features", part.features, f"{letter}D", sizes)
        host_integers(f"{name}.identities", part.identities, letter, sizes)
        host_integers(f"{name}.cameras", part.cameras, letter, sizes)
        if part.features.shape[0] == 0:
            raise InputError(f"{name} is empty; expected at least one item")
    if query.features.shape[1] != gallery.features.shape[1]:
        raise InputError(
            f"query and gallery must have features of one dimension, got "
            f"{query.features.shape[1]} and {gallery.features.shape[1]}"
        )
    if (np.asarray(gallery.identities) == -1).all():
        raise InputError("every gallery item is junk (identity -1): nothing can be retrieved")
    check_choice("distance", distance, get_args(Distance))
