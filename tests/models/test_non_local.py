from functools import partial

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.models.layers import Conv
from jaxreid.models.non_local import NonLocal
from jaxreid.models.normalization import BatchNorm

MAP = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)


def test_a_non_local_block_is_its_definition():
    block = NonLocal(4, partial(Conv, rngs=nnx.Rngs(0)), BatchNorm)
    # Fresh, it changes nothing.
    np.testing.assert_array_equal(block(jnp.asarray(MAP), "running"), MAP)
    rng = np.random.default_rng(1)
    for _, variable in nnx.to_flat_state(nnx.state(block)):
        variable[...] = jnp.asarray(rng.uniform(0.5, 1.5, variable.shape), jnp.float32)
    x = MAP.astype(np.float64).reshape(2, 15, 4)

    def number(conv):
        return x @ np.asarray(conv.kernel[...])[0, 0, :, 0] + float(conv.bias[0])

    # Every pair of positions, with its weight.
    weights = number(block.theta)[:, :, None] * number(block.phi)[:, None, :] / 15
    y = np.einsum("bij,bj->bi", weights, number(block.g))[:, :, None]
    conv, norm = block.W
    y = y * np.asarray(conv.kernel[...])[0, 0, 0] + np.asarray(conv.bias[...])
    factor = np.asarray(norm.scale[...]) / np.sqrt(np.asarray(norm.var[...]) + 1e-5)
    expected = x + (y - np.asarray(norm.mean[...])) * factor + np.asarray(norm.bias[...])
    got = block(jnp.asarray(MAP), "running").reshape(2, 15, 4)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
