"""ReLU, alone and after a sum, on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.models.activation import relu, relu_of_sum

VALUES = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=2)


def slopes(function, *arguments):
    """Reverse and forward, which must agree."""
    backward = jax.grad(lambda *x: jnp.sum(function(*x)), tuple(range(len(arguments))))(*arguments)
    ones = tuple(jnp.ones_like(x) for x in arguments)
    return backward, jax.jvp(function, arguments, ones)[1]


@given(st.lists(VALUES, min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_sum_is_that_of_an_addition_to_the_bit(pairs):
    x, y = jnp.asarray(pairs, jnp.float32).T
    expected = np.maximum(np.asarray(x) + np.asarray(y), 0)
    np.testing.assert_array_equal(relu_of_sum(x, y), expected)
    (dx, dy), tangent = slopes(relu_of_sum, x, y)
    np.testing.assert_array_equal(dx, expected > 0)
    np.testing.assert_array_equal(dy, expected > 0)
    np.testing.assert_array_equal(tangent, 2.0 * (expected > 0))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_accelerators_add_as_cpus_do(monkeypatch, dtype):
    x, y = jax.random.normal(jax.random.key(0), (2, 100), dtype)
    here = relu_of_sum(x, y)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_array_equal(relu_of_sum(x, y), here)


def test_relu_is_that_of_flax():
    x = jnp.asarray([-2.0, -0.0, 0.0, 1e-30, 3.0, jnp.nan, jnp.inf])
    np.testing.assert_array_equal(relu(x), nnx.relu(x))
    finite = x[:5]
    (ours,), _ = slopes(relu, finite)
    (theirs,), _ = slopes(nnx.relu, finite)
    np.testing.assert_array_equal(ours, theirs)
