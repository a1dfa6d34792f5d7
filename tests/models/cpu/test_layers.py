"""The CPU's forms of pooling, sums and means give the numbers of the plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxreid.models.cpu.layers import channel_means
from jaxreid.models.layers import max_pool, relu, relu_of_sum

TINY = np.finfo(np.float32).tiny  # the smallest that is not subnormal
NORMAL = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
SMALL = st.floats(-(2.0**-124), 2.0**-124, width=32)


def slopes(function, *arguments):
    """Reverse and forward, which must agree."""
    backward = jax.grad(lambda *x: jnp.sum(function(*x)), tuple(range(len(arguments))))(*arguments)
    ones = tuple(jnp.ones_like(x) for x in arguments)
    return backward, jax.jvp(function, arguments, ones)[1]


@given(st.lists(st.tuples(NORMAL, NORMAL), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_sum_is_that_of_an_addition(pairs):
    x, y = np.asarray(pairs, np.float32).T
    expected = np.maximum(x + y, 0)
    # Of two normal numbers that are nearly opposite, the sum may be subnormal.
    sure = (x + y == 0) | (abs(x + y) >= TINY)
    (dx, dy), tangent = slopes(relu_of_sum, jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_array_equal(np.asarray(relu_of_sum(x, y))[sure], expected[sure])
    np.testing.assert_allclose(relu_of_sum(x, y), expected, rtol=0, atol=TINY)
    np.testing.assert_array_equal(dx[sure], expected[sure] > 0)
    np.testing.assert_array_equal(dy[sure], expected[sure] > 0)
    np.testing.assert_array_equal(tangent[sure], 2.0 * (expected[sure] > 0))


@given(st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_processor_may_take_subnormal_numbers_for_zero(pairs):
    x, y = np.asarray(pairs, np.float32).T
    # In float64 these sums are exact, and nothing is subnormal.
    expected = np.maximum(x.astype(np.float64) + y.astype(np.float64), 0)
    for function in (relu_of_sum, jax.jit(relu_of_sum)):
        found = np.asarray(function(x, y), np.float64)
        assert (found >= 0).all()
        assert (abs(found - expected) < 2 * TINY).all()


def test_corners_are_those_of_an_addition():
    largest = np.finfo(np.float32).max
    values = np.asarray([-largest, -1, -TINY, -0.0, 0, TINY, 1, largest, np.inf, np.nan])
    x, y = (v.ravel() for v in np.meshgrid(values.astype(np.float32), [*values, -np.inf]))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.maximum(x + y.astype(np.float32), 0)
    np.testing.assert_array_equal(relu_of_sum(x, y.astype(np.float32)), expected)


def test_an_overflow_downwards_is_not_hidden_on_cpus():
    lowest, ones = jnp.full(2, -jnp.inf), jnp.ones(2)
    assert jnp.isnan(relu_of_sum(lowest, ones)).all()
    np.testing.assert_array_equal(relu_of_sum(ones, lowest), [0, 0])


@pytest.fixture
def elsewhere(monkeypatch):
    """Enters what a program lowered for an accelerator has."""

    def enter():
        monkeypatch.setattr(lax, "platform_dependent", lambda *args, default, **_: default(*args))

    return enter


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_accelerators_add_as_cpus_do(elsewhere, dtype):
    x, y = jax.random.normal(jax.random.key(0), (2, 100), dtype)
    here = relu_of_sum(x, y)
    elsewhere()
    np.testing.assert_array_equal(relu_of_sum(x, y), here)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("shape", [(5, 8), (6, 7), (2, 3)])
def test_accelerators_pool_as_cpus_do(elsewhere, shape, padded):
    # Few distinct values, so that windows are full of ties.
    x = jax.random.randint(jax.random.key(0), (2, *shape, 3), -3, 3).astype(jnp.float32)

    def run(x):
        return jax.jit(jax.value_and_grad(lambda x: jnp.exp(max_pool(x, padded=padded)).sum()))(x)

    here = run(x)
    elsewhere()
    for got, expected in zip(run(x), here, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_means_are_those_over_all_axes_but_the_last():
    x = jax.random.normal(jax.random.key(0), (3, 4, 5, 6))
    np.testing.assert_allclose(channel_means(x), x.mean((0, 1, 2)), atol=1e-6)


def test_relu_is_that_of_flax():
    x = jnp.asarray([-2.0, -0.0, 0.0, 1e-30, 3.0, jnp.nan, jnp.inf])
    np.testing.assert_array_equal(relu(x), nnx.relu(x))
    finite = x[:5]
    (ours,), _ = slopes(relu, finite)
    (theirs,), _ = slopes(nnx.relu, finite)
    np.testing.assert_array_equal(ours, theirs)
