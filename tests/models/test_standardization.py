import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import relative

from jaxreid.models.standardization import LayerNorm, standardize


@pytest.mark.slow
@pytest.mark.parametrize("over", ["channels", "pixels"])
def test_mean_is_0_and_variance_1_and_the_gradient_that_of_the_definition(over):
    rng = np.random.default_rng(0)
    x, direction = rng.normal(3, 2, size=(2, 2, 5, 7))

    def definition(x):
        axis = -1 if over == "channels" else -2
        return (x - x.mean(axis, keepdims=True)) / jnp.sqrt(x.var(axis, keepdims=True) + 0.1)

    with jax.enable_x64(True):
        got, back = jax.vjp(lambda x: standardize(x, 0.1, over), jnp.asarray(x))
        expected, expected_back = jax.vjp(definition, jnp.asarray(x))
        assert relative(got, expected) < 1e-14
        assert relative(back(direction)[0], expected_back(direction)[0]) < 1e-13
        # Of its own gradient, too, as penalties on gradients need it.
        second = [
            jax.grad(lambda x, f=f: jnp.sum(jnp.sin(jax.grad(lambda y: jnp.sum(f(y) ** 3))(x))))(
                jnp.asarray(x)
            )
            for f in (lambda x: standardize(x, 0.1, over), definition)
        ]
        assert relative(*second) < 1e-12


def test_a_mean_far_from_zero_does_not_cancel():
    x = np.asarray([[4096.0, 4097.0, 4098.0, 4099.0]], np.float32)
    got = LayerNorm(4, epsilon=1e-5, dtype=jnp.float32, rngs=nnx.Rngs(0))(jnp.asarray(x))
    # Mean 4097.5, variance 1.25.
    expected = (np.arange(4) - 1.5) / np.sqrt(1.25 + 1e-5)
    np.testing.assert_allclose(got[0], expected, rtol=1e-5)


def test_scale_and_shift_follow_and_low_precision_is_only_that_of_the_result():
    layer = LayerNorm(4, epsilon=0.25, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    layer.scale[...], layer.bias[...] = jnp.asarray([1.0, 2, 3, 4]), jnp.asarray([0.0, 0, 1, 1])
    got = layer(jnp.asarray([[1.0, -1.0, 1.0, -1.0]], jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    # Variance 1, with epsilon 1.25.
    expected = np.asarray([1, -2, 3, -4]) / np.sqrt(1.25) + np.asarray([0, 0, 1, 1])
    np.testing.assert_allclose(got[0].astype(np.float32), expected, rtol=2**-8)
