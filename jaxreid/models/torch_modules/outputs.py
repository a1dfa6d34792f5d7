"""Which of a module's outputs is the feature [B,D]."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from jaxreid.errors import InputError, did_you_mean

__all__ = ["OutputChoice", "feature_of"]

OutputChoice = int | str | None
"""The position in a tuple or list, the key of a dict, the field of an object; None for a tensor."""


def feature_of(found: Any, output: OutputChoice, *, batch: int, name: str) -> Any:
    """The feature among what a module returned, in tensors of PyTorch or arrays of JAX.

    Args:
        found: what its forward pass returned.
        output: which part of it.
        batch: B.
        name: of the module, for messages.

    Returns:
        A floating-point tensor or array [B,D].

    Raises:
        InputError: there is no such output, or it is no such tensor.
    """
    feature = _chosen(found, output, name)
    if not _is_array(feature):
        raise InputError(
            f"{name} gives {_described(feature)}; expected a tensor [B,D]"
            f"{_choices(feature) and f': choose one by output={_choices(feature)}'}"
        )
    shape = list(feature.shape)
    if len(shape) > 2 and shape[0] == batch and all(side == 1 for side in shape[2:]):
        feature = feature.reshape(batch, -1)
    if feature.ndim != 2 or shape[0] != batch:
        raise InputError(
            f"{name} gives a tensor {shape} for {batch} images; expected features [{batch},D]"
            f"{': pool the map, or choose another output' if len(shape) == 4 else ''}"
        )
    if not _is_floating(feature.dtype):
        raise InputError(f"{name} gives {feature.dtype}; expected floating-point features")
    return feature


def _chosen(found: Any, output: OutputChoice, name: str) -> Any:
    if output is None:
        return found
    try:
        if isinstance(output, str) and not isinstance(found, Mapping):
            return getattr(found, output)
        if _is_array(found):
            raise TypeError
        return found[output]
    except (KeyError, IndexError, AttributeError, TypeError):
        known = [str(key) for key in found] if isinstance(found, Mapping) else []
        near = did_you_mean(str(output), known)
        raise InputError(
            f"output: {name} has no {output!r}; it gives {_described(found)}{near and f'; {near}'}"
        ) from None


def _is_array(thing: Any) -> bool:
    return hasattr(thing, "shape") and hasattr(thing, "ndim") and hasattr(thing, "dtype")


def _is_floating(dtype: Any) -> bool:
    own = getattr(dtype, "is_floating_point", None)
    return jnp.issubdtype(dtype, jnp.floating) if own is None else own


def _described(found: Any) -> str:
    if _is_array(found):
        return f"a tensor {list(found.shape)}"
    if isinstance(found, Mapping):
        return f"a dict of {', '.join(repr(key) for key in found)}"
    if isinstance(found, Sequence) and not isinstance(found, str):
        shapes = ", ".join(_described(one) for one in found[:4])
        return f"a {type(found).__name__} of {len(found)} ({shapes})"
    return f"a {type(found).__name__}"


def _choices(found: Any) -> str:
    if isinstance(found, Mapping):
        return " or ".join(repr(key) for key in found)
    if isinstance(found, Sequence) and not isinstance(found, str):
        return " or ".join(str(index) for index in range(min(len(found), 4)))
    return ""
