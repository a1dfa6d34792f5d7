"""Rows split over devices and processes, and their results gathered in the order of the rows.

Each device works on its part of the rows of a batch (`over_rows`), with what all rows share copied
to every device (`replicated`). With several processes each makes its own part of every batch, and
what comes out is gathered, so that each of them returns the whole.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxreid.errors import InputError
from jaxreid.types import Array

__all__ = [
    "from_first_process",
    "gathered",
    "over_rows",
    "replicated",
    "row_mesh",
    "split_rows",
    "spread",
    "summed_over_processes",
    "together",
    "whole_batch",
]

_Tree = TypeVar("_Tree")
_Found = TypeVar("_Found")


def row_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of devices, by default all of this process, with the one axis "rows"."""
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
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    devices = mesh.size * jax.process_count()
    return -(-max(min(batch_size, count), 1) // devices) * devices


def replicated(tree: _Tree, mesh: Mesh) -> _Tree:
    """Copies a pytree to every device of a mesh.

    Arrays that live on all processes' devices must be replicated already.
    """
    return jax.device_put(jax.tree.map(_local, tree), NamedSharding(mesh, P()))


def spread(rows: _Tree, mesh: Mesh) -> _Tree:
    """Gives each device of a mesh its part of the rows: the leading axis of every leaf."""
    return jax.device_put(rows, _by_rows(mesh))


@cache
def _by_rows(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P("rows"))


def _local(leaf: object) -> object:
    """This process's copy of an array that every device of every process holds."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable and leaf.is_fully_replicated:
        return leaf.addressable_data(0)
    return leaf


def over_rows(function: Callable[[Any, Any], _Found], mesh: Mesh) -> Callable[[Any, Any], _Found]:
    """Compiles a function (shared, rows) -> rows so that each device has its part of the rows.

    All are pytrees of arrays; the leading axis of `rows` is split, and `rows` may be on the host or
    be what an earlier call returned. The same function (by identity) is compiled once per shape.
    """
    return _compiled(function, mesh)


def split_rows(
    function: Callable[[Any, Any], Any], mesh: Mesh, *, agreed: bool = False
) -> jax.stages.Wrapped:
    """What `over_rows` runs, to be lowered or compiled: jitted, for shapes of all devices' rows.

    With `agreed` it is what `together` runs: all devices give the same, and not rows.
    """
    found = P() if agreed else P("rows")
    return jax.jit(
        jax.shard_map(
            function, mesh=mesh, in_specs=(P(), P("rows")), out_specs=found, check_vma=False
        )
    )


@cache
def _compiled(function: Callable[[Any, Any], Any], mesh: Mesh) -> Callable[[Any, Any], Any]:
    compiled = split_rows(function, mesh)
    return lambda shared, rows: compiled(shared, spread(rows, mesh))


def together(function: Callable[[Any, Any], _Found], mesh: Mesh) -> Callable[[Any, Any], _Found]:
    """Compiles a function (shared, rows) -> what all devices of this process agree on.

    Each device has its part of the rows, and the function exchanges what they need of each other,
    by `jaxreid.collectives.Collective("rows")`, until all of them hold the same.
    """
    compiled = split_rows(function, mesh, agreed=True)
    return lambda shared, rows: compiled(shared, spread(rows, mesh))


def gathered(parts: Sequence[np.ndarray | Array], count: int) -> np.ndarray:
    """Joins the batches of all processes in the order of the rows, without the padding.

    Args:
        parts: of this process, one array [b,...] per batch, all of one shape.
        count: rows without padding, N.

    Returns:
        [N,...], the same on every process.
    """
    local = np.stack([np.asarray(part) for part in parts])
    if jax.process_count() > 1:
        # [processes, batches, b, ...] -> a batch's parts side by side
        local = np.moveaxis(_of_all_processes(local), 0, 1)
        local = local.reshape(local.shape[0], -1, *local.shape[3:])
    return local.reshape(-1, *local.shape[2:])[:count]


def summed_over_processes(array: np.ndarray) -> np.ndarray:
    """Adds up what each process has, arrays of one shape and dtype: the sum on every process."""
    if jax.process_count() == 1:
        return array
    return _of_all_processes(array).sum(axis=0, dtype=array.dtype)


def from_first_process(tree: _Tree) -> _Tree:
    """What the first process has, on every process, bit by bit.

    Args:
        tree: NumPy arrays, of one shape and dtype on all processes.

    Returns:
        Arrays that may not be written to.
    """
    if jax.process_count() == 1:
        return tree
    sent = multihost_utils.broadcast_one_to_all(jax.tree.map(_words, tree))
    return jax.tree.map(_from_words, sent, tree)


def _of_all_processes(array: np.ndarray) -> np.ndarray:
    """What each process has, [processes,...], bit by bit."""
    sent = multihost_utils.process_allgather(_words(array))
    return np.stack([_from_words(words, array) for words in sent])


# Between processes go words of 32 bits: JAX makes float32 of float64, and where it sends by adding,
# 0.0 of -0.0.
def _words(leaf: Any) -> np.ndarray:
    raw = np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
    return np.pad(raw, (0, -len(raw) % 4)).view(np.uint32)


def _from_words(words: np.ndarray, like: Any) -> np.ndarray:
    like = np.asarray(like)
    return np.asarray(words).view(np.uint8)[: like.nbytes].view(like.dtype).reshape(like.shape)
