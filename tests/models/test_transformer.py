import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.models.transformer import attend, gelu


def test_gelu_is_exact():
    x = np.linspace(-6, 6, 101)
    expected = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x]
    np.testing.assert_allclose(gelu(jnp.asarray(x, jnp.float32)), expected, atol=1e-6)
    assert gelu(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_attention_of_equal_keys_is_the_mean_and_of_one_that_fits_its_value(dtype):
    value = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 2, 4)), dtype)
    query = jnp.ones((2, 5, 2, 4), dtype)
    wide = np.asarray(value, np.float64)
    same = jax.jit(attend, static_argnames="scale")(query, jnp.zeros_like(value), value, scale=0.5)
    assert same.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(same, np.float64), wide.mean(1, keepdims=True).repeat(5, 1), atol=0.02
    )
    key = jnp.zeros_like(value).at[:, 1].set(50)
    one = attend(query, key, value, scale=0.5)
    np.testing.assert_allclose(np.asarray(one, np.float64), wide[:, 1:2].repeat(5, 1), atol=0.02)
