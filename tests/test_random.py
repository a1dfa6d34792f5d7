"""Keys per example."""

import jax
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.random import example_keys, keys_of_rows, numbered


def test_a_key_depends_on_the_index_alone():
    key = jax.random.key(3)
    some, others = example_keys(key, np.array([4, 9])), example_keys(key, np.array([9, 1, 4]))
    np.testing.assert_array_equal(jax.random.key_data(some[0]), jax.random.key_data(others[2]))
    np.testing.assert_array_equal(jax.random.key_data(some[1]), jax.random.key_data(others[0]))
    assert not np.array_equal(*jax.random.key_data(some))


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_a_use_of_each_key_has_a_key_of_its_own(make):
    keys = keys_of_rows(make(0), 3)
    for number in (0, 7):
        found = jax.jit(numbered)(keys, number)
        for one, key in zip(found, keys, strict=True):
            np.testing.assert_array_equal(
                *map(jax.random.key_data, (one, jax.random.fold_in(key, number)))
            )


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
    with pytest.raises(InputError, match="indices must be at least 0"):
        example_keys(jax.random.key(0), np.array([3, -1]))
    with pytest.raises(InputError, match=r"indices must be an array of shape \[B\], got a list"):
        example_keys(jax.random.key(0), [0, 1])


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_keys_of_every_generator(implementation):
    with jax.default_prng_impl(implementation):
        for make in (jax.random.key, jax.random.PRNGKey):
            assert keys_of_rows(make(1), 2).shape[0] == 2
            assert keys_of_rows(example_keys(make(1), np.arange(3)), 3).shape[0] == 3
        with pytest.raises(InputError, match="key must be a JAX random key"):
            keys_of_rows(np.zeros(3, np.uint32), 3)
    with pytest.raises(InputError, match="key must be a single key"):
        example_keys(jax.random.split(jax.random.key(0), 2), np.arange(2))
