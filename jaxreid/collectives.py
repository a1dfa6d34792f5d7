"""Exchange between the devices that a function is mapped over; on one device it does nothing."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxreid.types import Array, ArrayLike

__all__ = ["Collective", "local_copy", "varying_as"]

Tree = TypeVar("Tree")


class Collective(NamedTuple):
    """The devices that a function is mapped over, or none: the same code runs on one and on many.

    Attributes:
        axis_name: of `jax.pmap` or `jax.shard_map`; None for a function that is not mapped.
    """

    axis_name: str | None = None

    @property
    def size(self) -> int:
        """How many devices there are; 1 where the function is not mapped."""
        return 1 if self.axis_name is None else lax.axis_size(self.axis_name)

    def mean(self, tree: Tree) -> Tree:
        """Means over the devices, leaf by leaf.

        Args:
            tree: arrays of one shape on all devices.

        Returns:
            The same tree on every device.
        """
        return tree if self.axis_name is None else lax.pmean(tree, self.axis_name)

    def sum(self, tree: Tree) -> Tree:
        """Sums over the devices, leaf by leaf.

        Args:
            tree: arrays of one shape on all devices.

        Returns:
            The same tree on every device.
        """
        return tree if self.axis_name is None else lax.psum(tree, self.axis_name)

    def number_of(self, mask: ArrayLike) -> Array:
        """How many entries hold, per device on average: what a sum of theirs is divided by.

        The mean over devices of such quotients is then the mean over all that hold, however they
        are spread.

        Args:
            mask: boolean, of this device.

        Returns:
            [] of the default float type, above 0: 1 where none holds on any device.
        """
        count = self.mean(jnp.sum(mask).astype(float))
        return jnp.where(count > 0, count, 1)

    def gather(self, rows: ArrayLike) -> Array:
        """The rows of all devices in the order of the devices: the whole batch.

        Args:
            rows: [B,...] of this device.

        Returns:
            [devices * B,...] on every device.
        """
        rows = jnp.asarray(rows)
        return rows if self.axis_name is None else lax.all_gather(rows, self.axis_name, tiled=True)

    def positions(self, count: int) -> Array:
        """Where this device's rows stand among those that `gather` puts together.

        Args:
            count: rows of every device.

        Returns:
            [count] int32.
        """
        rows = jnp.arange(count, dtype=jnp.int32)
        return rows if self.axis_name is None else lax.axis_index(self.axis_name) * count + rows


def local_copy(tree: Tree) -> Tree:
    """What the first device of this process holds of a tree that is the same on all devices.

    Args:
        tree: of arrays with a leading axis of devices, as `jax.pmap` returns them.

    Returns:
        The tree without that axis.
    """
    return jax.tree.map(lambda x: x.addressable_shards[0].data.reshape(x.shape[1:]), tree)


def varying_as(x: Array, values: Array) -> Array:
    """The same values, to `jax.shard_map` as different from device to device as x is.

    So is the gradient to them of a `jax.custom_vjp`; shard_map adds it up where the values are one
    for all devices.

    Args:
        x: of this device, without an axis of length 0.
        values: of any shape.

    Returns:
        As values.
    """
    return jnp.where(True, values, lax.stop_gradient(x[(0,) * x.ndim]))
