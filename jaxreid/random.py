"""Random keys per example: the same numbers whatever the batch size or the number of devices."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import (
    Sizes,
    check_count,
    check_integers,
    check_key,
    check_keys,
    check_values,
    shape_of,
)
from jaxreid.errors import InputError
from jaxreid.types import Array, IdentitiesLike, Keys, KeysLike, RandomKey

__all__ = ["example_keys", "keys_of_rows", "numbered"]


def example_keys(key: RandomKey, indices: IdentitiesLike) -> Keys:
    """One key per example, made from the example's index in its dataset, ``fold_in(key, index)``.

    Pass these keys to an attack instead of one key, and an image gets the same random start
    whatever batch or device it is processed in.

    Args:
        key: a single JAX random key (fold in the step or the repeat before).
        indices: [B] integer, at least 0, the examples' positions in the dataset.

    Returns:
        [B] keys.

    Raises:
        InputError: if key is not a single key, or indices not one axis of integers of at least 0.
    """
    if check_key("key", key) != 0:
        raise InputError(f"key must be a single key, got {shape_of(key)}: a batch of them")
    Sizes().check("indices", indices, "B")
    rows = check_integers("indices", indices)
    check_values(rows, lambda i: i >= 0, "indices must be at least 0: positions in the dataset")
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(rows)


def keys_of_rows(key: KeysLike, batch: int) -> Keys:
    """Accepts one key (the row number is folded in) or one key per row.

    Args:
        key: a single key, or [B] keys as `example_keys` makes them.
        batch: the number of rows, B.

    Returns:
        [B] keys.

    Raises:
        InputError: if key is no random key, there are keys for another number of rows, or batch is
            no integer of at least 0.
    """
    batch = check_count("batch", batch)
    if check_key("key", key) == 0:
        return example_keys(key, jnp.arange(batch))
    if key.shape[0] != batch:
        raise InputError(f"key holds {key.shape[0]} keys for {batch} rows; expected one or {batch}")
    return key


def numbered(keys: Keys, number: Array | int) -> Keys:
    """A key of its own for one use of each key, such as a step, ``fold_in(keys[i], number)``.

    Args:
        keys: [B] keys, one per row.
        number: an integer of at least 0, the same for all rows.

    Returns:
        [B] keys.

    Raises:
        InputError: if keys are not one per row, or number is no single integer.
    """
    check_keys("keys", keys)
    if isinstance(number, jax.Array | np.ndarray | np.generic):  # such as the counter of a scan
        Sizes().check("number", number, "")
        check_integers("number", number)
    else:
        check_count("number", number)
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)
