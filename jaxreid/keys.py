"""Random keys per example: the same numbers whatever the batch size or the number of devices."""

import jax
import jax.numpy as jnp

from jaxreid.checks import check_integers
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike

__all__ = ["example_keys", "keys_of_rows"]


def _is_batch(key: Array) -> bool:
    """Whether this is a batch of keys; legacy uint32 keys carry a trailing axis of words."""
    if not hasattr(key, "dtype"):
        raise InputError(f"key must be a JAX random key, as jax.random.key(0), got {key!r}")
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return key.ndim == (1 if typed else 2)


def example_keys(key: Array, indices: ArrayLike) -> Array:
    """One key per example, made from the example's index in its dataset, ``fold_in(key, index)``.

    Pass these keys to an attack instead of one key, and an image gets the same random start
    whatever batch or device it is processed in.

    Args:
        key: a single JAX random key (fold in the step or the repeat before).
        indices: [B] integer, the examples' positions in the dataset.

    Returns:
        [B] keys.

    Raises:
        InputError: if indices is not one axis of integers.
    """
    if jnp.ndim(indices) != 1:
        raise InputError(f"indices must have shape [B], got {jnp.shape(indices)}")
    rows = check_integers("indices", indices)
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(rows)


def keys_of_rows(key: Array, batch: int) -> Array:
    """Accepts one key (the row number is folded in) or one key per row.

    Args:
        key: a single key, or [B] keys as `example_keys` makes them.
        batch: the number of rows, B.

    Returns:
        [B] keys.

    Raises:
        InputError: if there are keys for another number of rows.
    """
    if not _is_batch(key):
        return example_keys(key, jnp.arange(batch))
    if key.shape[0] != batch:
        raise InputError(f"key holds {key.shape[0]} keys for {batch} rows; expected one or {batch}")
    return key
