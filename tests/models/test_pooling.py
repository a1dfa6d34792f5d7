import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.models.pooling import GlobalPool, generalized_mean

MAP = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
P = np.array([3.4], np.float32)


def by_definition(x, p):
    x = np.maximum(x.astype(np.float64), 1e-6)
    return (x ** float(p)).mean((1, 2)) ** (1 / float(p))


@pytest.mark.parametrize("p", [1.0, 3.0, 3.4, 6.5])
def test_the_generalised_mean_is_its_definition(p):
    got = generalized_mean(jnp.asarray(MAP), p)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, by_definition(MAP, p), rtol=1e-5)


def test_its_gradients_are_those_of_the_definition():
    weight = np.random.default_rng(1).normal(size=(2, 4))

    def loss(x, p):
        return jnp.sum(weight * generalized_mean(x, p))

    dx, dp = jax.grad(loss, (0, 1))(jnp.asarray(MAP), jnp.asarray(P))
    direction, step = np.random.default_rng(2).normal(size=MAP.shape), 1e-5

    def of(x, p):
        return np.sum(weight * by_definition(x, p))

    x = MAP.astype(np.float64)
    slope = (of(x + step * direction, P) - of(x - step * direction, P)) / (2 * step)
    np.testing.assert_allclose(np.sum(dx * direction), slope, rtol=1e-4)
    p = float(P[0])
    slope = (of(x, p + step) - of(x, p - step)) / (2 * step)
    np.testing.assert_allclose(dp[0], slope, rtol=1e-4)
    # Values below 1e-6 were replaced: nothing passes.
    assert not np.any(dx[MAP < 1e-6])


def test_nothing_leaves_float32_where_powers_would():
    x = jnp.concatenate([jnp.zeros((1, 2, 2, 1)), jnp.full((1, 2, 2, 1), 1e12)], axis=-1)
    p = jnp.asarray([9.0])
    value, (dx, dp) = jax.value_and_grad(lambda x, p: generalized_mean(x, p).sum(), (0, 1))(x, p)
    np.testing.assert_allclose(value, 1e12 + 1e-6, rtol=1e-5)
    # The mean of four equal values: a quarter for each; none for the zeros.
    np.testing.assert_allclose(dx[0, :, :, 1], 0.25, rtol=1e-5)
    assert not np.any(dx[..., 0])
    assert np.isfinite(dp).all()


def test_not_a_number_stays_one():
    assert np.isnan(generalized_mean(jnp.full((1, 2, 2, 1), np.nan), 3.0)).all()


def test_pools_are_the_mean_and_gem_with_3_at_first():
    x = jnp.asarray(MAP)
    np.testing.assert_allclose(GlobalPool("average")(x), MAP.mean((1, 2)), rtol=1e-5, atol=1e-7)
    for pooling in ("gem", "gem-learnt"):
        np.testing.assert_allclose(GlobalPool(pooling)(x), by_definition(MAP, 3), rtol=1e-5)
    assert GlobalPool("gem-learnt").p.shape == (1,)
    assert GlobalPool("gem-learnt")(x.astype(jnp.bfloat16)).dtype == jnp.float32
