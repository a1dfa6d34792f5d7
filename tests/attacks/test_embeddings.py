"""Any callable will do: Flax NNX, Flax Linen, plain JAX; float32, bfloat16, float64."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toy import features, random_embed, random_images, random_weights

from jaxreid import attacks
from jaxreid.errors import InputError


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(16)(jnp.tanh(nn.Conv(8, (3, 3), 2)(x)).mean((1, 2)))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
        self.dense = nnx.Linear(8, 16, rngs=rngs)

    def __call__(self, x):
        return self.dense(jnp.tanh(self.norm(self.conv(x))).mean((1, 2)))


def linen_embed():
    net = LinenNet()
    variables = net.init(jax.random.key(0), random_images(1))
    return lambda x: net.apply(variables, x)


def nnx_embed():
    return NnxNet(nnx.Rngs(0))


def bfloat16_embed():
    weights = random_weights(0, jnp.bfloat16)
    return lambda x: features(weights, x.astype(jnp.bfloat16))


EMBEDS = {
    "plain": random_embed,
    "linen": linen_embed,
    "nnx": nnx_embed,
    "bfloat16": bfloat16_embed,
}


@pytest.mark.parametrize("kind", EMBEDS)
def test_any_embedding_can_be_attacked(kind):
    embed, x = EMBEDS[kind](), random_images(4)
    push, pull = embed(random_images(4, seed=1)), embed(random_images(4, seed=2))
    before = embed(x)

    @jax.jit
    def attack(x):
        return attacks.fna(embed, x, push, pull), attacks.sma(embed, x, jax.random.key(0))

    for images in attack(x):
        assert images.dtype == jnp.float32
        assert jnp.abs(images - x).max() <= 5 / 255 + 1e-7
        moved = jnp.linalg.norm((embed(images) - before).astype(jnp.float32), axis=1)
        assert (moved > 0).all()
    # The attack left the model as it was.
    np.testing.assert_array_equal(embed(x), before)


def test_nnx_model_in_pieces_can_be_attacked():
    graphdef, state = nnx.split(nnx_embed())
    x = random_images(2)

    def embed(images):
        return nnx.merge(graphdef, state, copy=True)(images)

    attacked = jax.jit(lambda x: attacks.sma(embed, x, jax.random.key(0)))(x)
    np.testing.assert_allclose(
        attacked, attacks.sma(nnx_embed(), x, jax.random.key(0)), rtol=0, atol=1e-6
    )


def test_double_precision_stays_double():
    with jax.enable_x64(True):
        embed, x = random_embed(dtype=np.float64), random_images(2, dtype=np.float64)
        push = embed(random_images(2, seed=1, dtype=np.float64))
        images = attacks.ifgsm(embed, x, push)
        assert images.dtype == jnp.float64
        assert jnp.abs(images - x).max() <= 5 / 255 + 1e-15


def test_features_that_leave_the_dtype_when_they_are_squared_are_refused_for_that_reason():
    small, x = random_embed(), random_images(2)
    push, pull = small(random_images(2, seed=1)), small(random_images(2, seed=2))
    large = 1e25
    with pytest.raises(InputError, match="squares leave the range of their dtype"):
        attacks.fna(lambda z: small(z) * large, x, push * large, pull * large, steps=1)
    # Where squares fit, a scale changes no sign of a gradient: not the attack either.
    large = 2.0**40
    scaled = attacks.fna(lambda z: small(z) * large, x, push * large, pull * large, steps=1)
    np.testing.assert_array_equal(scaled, attacks.fna(small, x, push, pull, steps=1))
