"""Rows over devices and processes: one program for all batches, results in the order of the split.

Every process makes its own part of each batch and spreads it over its own devices; what comes out
is gathered, so that each of them returns the whole.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxreid.errors import InputError
from jaxreid.types import Array

__all__ = ["as_pytree", "gathered", "mesh_of", "on_every_device", "over_rows", "whole_batch"]


def mesh_of(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Lines up the devices of this process.

    Args:
        devices: where to run; all local devices by default.

    Returns:
        A mesh with the one axis "rows".

    Raises:
        InputError: there are none.
    """
    devices = jax.local_devices() if devices is None else devices
    if not devices:
        raise InputError("devices is empty; expected at least one device")
    return Mesh(np.asarray(devices), ("rows",))


def whole_batch(batch_size: int, count: int, mesh: Mesh) -> int:
    """A global batch that splits evenly over all devices and is not much larger than the data.

    Args:
        batch_size: rows asked for, over all processes.
        count: rows there are.
        mesh: of this process; every process has one of the same size.

    Returns:
        A multiple of the number of devices.

    Raises:
        InputError: batch_size is below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    devices = mesh.size * jax.process_count()
    return -(-max(min(batch_size, count), 1) // devices) * devices


def as_pytree(embed: Any) -> Any:
    """A callable that can be an argument of a compiled function.

    Args:
        embed: a pytree of arrays that can be called (an Embedding), or any callable.

    Returns:
        The pytree itself, whose arrays are inputs of the program; any other callable as static,
        with its arrays as constants: equal callables share a program.
    """
    leaves = jax.tree.leaves(embed)
    if leaves and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        return embed
    try:
        hash(embed)
    except TypeError:
        # A bound method is hashed by the identity of what it is bound to.
        return jax.tree_util.Partial(embed.__call__)
    return jax.tree_util.Partial(embed)


def _local(leaf: Any) -> Any:
    """This process's copy of an array that every device of every process holds."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable and leaf.is_fully_replicated:
        return leaf.addressable_data(0)
    return leaf


def on_every_device(tree: Any, mesh: Mesh) -> Any:
    """Copies a pytree to every device of a mesh.

    Args:
        tree: arrays; such that live on all processes' devices must be replicated.
        mesh: of `mesh_of`.

    Returns:
        The same pytree, replicated.
    """
    return jax.device_put(jax.tree.map(_local, tree), NamedSharding(mesh, P()))


@cache
def over_rows(function: Callable[[Any, Any], Any], mesh: Mesh) -> Callable[[Any, Any], Any]:
    """Compiles a function of rows so that each device has its part of them.

    Args:
        function: (shared, rows) -> rows; pytrees of arrays, the leading axis of `rows` is spread.
            The same function (by identity) is compiled once per shape.
        mesh: of `mesh_of`.

    Returns:
        The compiled function; it takes `rows` on the host.
    """
    spread = NamedSharding(mesh, P("rows"))
    compiled = jax.jit(
        jax.shard_map(
            function, mesh=mesh, in_specs=(P(), P("rows")), out_specs=P("rows"), check_vma=False
        )
    )

    def run(shared: Any, rows: Any) -> Any:
        return compiled(shared, jax.device_put(rows, spread))

    return run


def gathered(parts: Sequence[np.ndarray | Array], count: int) -> np.ndarray:
    """Joins the batches of all processes in the order of the split, without the padding.

    Args:
        parts: of this process, one array [b,...] per batch, all of one shape.
        count: rows without padding, N.

    Returns:
        [N,...], the same on every process.
    """
    local = np.stack([np.asarray(part) for part in parts])
    if jax.process_count() > 1:
        # [processes, batches, b, ...] -> a batch's parts side by side
        local = np.moveaxis(multihost_utils.process_allgather(local), 0, 1)
        local = local.reshape(local.shape[0], -1, *local.shape[3:])
    return local.reshape(-1, *local.shape[2:])[:count]
