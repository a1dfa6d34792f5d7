"""What a file holds beside the numbers of a network, for the file that is written from it."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.weights.accounting import ALLOWED, COUNTER
from jaxreid.models.weights.layouts import LAYOUTS, name_of
from jaxreid.models.weights.recognition import Plan
from jaxreid.models.weights.transfer import Imported, unfit_values

__all__ = ["Kept", "cast_to", "keep"]


class Kept(NamedTuple):
    """What is taken over from the file read.

    Attributes:
        tensors: name in the file written -> array.
        names: those that they have in the file read, by today's names.
    """

    tensors: dict[str, np.ndarray]
    names: frozenset[str]


def keep(found: Plan, imported: Imported, config: ModelConfig, layout: str, *, own: bool) -> Kept:
    """Takes over BatchNorm's counters and, under the file's own names, its buffers, bit for bit.

    Args:
        found: the file read.
        imported: what became of its tensors; the counters of what is drawn anew begin at 0.
        config: the network that is written.
        layout: a key of LAYOUTS, whose names are written.
        own: whether they are those that the file has, and not today's.

    Returns:
        The tensors. A buffer is another one where the configuration says otherwise than the file.
    """
    tensors, names = {}, set()
    allowed = {name for name, reason in imported.ignored if reason == ALLOWED}
    held = {name: value for name, value in found.tensors.items() if name not in allowed}
    for path in imported.values:
        if path[-1] == "var":
            read, written = (
                name_of(path, config, one).replace("running_var", COUNTER)
                for one in (found.layout, layout)
            )
            if read in held:
                tensors[written] = held[read]
                names.add(read)
    if found.layout == layout:
        for name, computed in _buffers(config, layout, own=own).items():
            if name in held:
                stored = held[name]
                same = np.array_equal(stored.ravel().astype(computed.dtype), computed.ravel())
                tensors[name] = stored if same else computed
                names.add(name)
    return Kept(tensors, frozenset(names))


def _buffers(config: ModelConfig, layout: str, *, own: bool) -> Mapping[str, np.ndarray]:
    """What files of a library hold beside parameters and counters, and what former ones did."""
    table = LAYOUTS[layout]
    makes = (table.buffers, table.old_buffers if own else None)
    return {name: value for make in makes if make for name, value in make(config).items()}


def cast_to(dtype: str, tensors: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Casts all but whole numbers and counters.

    Args:
        dtype: "float32", "bfloat16", ...
        tensors: name -> array.
        source: the file read, for messages.

    Raises:
        InputError: a value does not fit.
    """
    cast = {}
    for name, value in tensors.items():
        if value.dtype.kind == "i" or name.endswith(COUNTER):
            cast[name] = value
            continue
        with np.errstate(over="ignore"):
            cast[name] = value.astype(jnp.dtype(dtype))
        if unfit_values(name, cast[name]):
            largest = float(np.abs(value.astype(np.float64)).max())
            raise InputError(f"{source}: {name} does not fit {dtype}: it has values of {largest:g}")
    return cast
