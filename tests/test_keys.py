"""Keys per example."""

import jax
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.keys import example_keys, keys_of_rows


def test_a_key_depends_on_the_index_alone():
    key = jax.random.key(3)
    some, others = example_keys(key, np.array([4, 9])), example_keys(key, np.array([9, 1, 4]))
    np.testing.assert_array_equal(jax.random.key_data(some[0]), jax.random.key_data(others[2]))
    np.testing.assert_array_equal(jax.random.key_data(some[1]), jax.random.key_data(others[0]))
    assert not np.array_equal(*jax.random.key_data(some))


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_one_key_or_one_per_row(make):
    key = make(0)
    keys = keys_of_rows(key, 3)
    assert keys.shape[0] == 3
    assert keys_of_rows(keys, 3) is keys
    with pytest.raises(InputError, match="3 keys for 4 rows"):
        keys_of_rows(keys, 4)


def test_a_seed_is_no_key():
    with pytest.raises(InputError, match=r"key must be a JAX random key, .* got 0"):
        keys_of_rows(0, 3)


def test_bad_indices_are_named():
    with pytest.raises(InputError, match=r"indices must have shape \[B\]"):
        example_keys(jax.random.key(0), np.zeros((2, 2), int))
    with pytest.raises(InputError, match="indices must be integers"):
        example_keys(jax.random.key(0), np.zeros(2))
