"""ODFA on features of unit length: the sign of its gradient is no rounding noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreid import attacks
from jaxreid.errors import InputError
from jaxreid.models import ResNetConfig, create, embedding

SHAPE = ResNetConfig(depths=(1, 1), widths=(4, 8), stem_width=4)


def network(dtype):
    """A small ResNet whose BatchNorm has something to fold."""
    model = create(SHAPE, head="none", rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)

    def drawn(path, leaf):
        name = str(path[-1])
        if leaf.ndim == 1:
            low, high = (0.5, 1.5) if "mean" not in name and "bias" not in name else (-0.1, 0.1)
            leaf = rng.uniform(low, high, leaf.shape)
        return jnp.asarray(leaf, dtype)

    graph, state = nnx.split(model)
    state = jax.tree.map_with_path(drawn, state)
    return embedding(nnx.merge(graph, state))


def unit(embed):
    def normalised(images):
        features = embed(images)
        return features / jnp.linalg.norm(features, axis=1, keepdims=True)

    return normalised


def first_step(embed, images):
    """Signs of the first step from the random start."""
    key = jax.random.key(5)
    start = attacks.noise(images, key)
    stepped = attacks.odfa(unit(embed), images, key=key, steps=1, eps=5 / 255)
    return np.sign(np.round((np.asarray(stepped, np.float64) - np.asarray(start)) * 255, 2))


@pytest.mark.slow
@pytest.mark.optimized
def test_single_double_precision_and_frozen_networks_agree():
    images = np.random.default_rng(0).uniform(0.2, 0.8, (3, 32, 16, 3)).astype(np.float32)
    embed = network(np.float32)
    plain, frozen = first_step(embed, images), first_step(embed.frozen(), images)
    with jax.enable_x64(True):
        double = first_step(network(np.float64), images.astype(np.float64))
    assert (plain != 0).mean() > 0.9
    assert (plain == frozen).mean() > 0.99
    assert (plain == double).mean() > 0.99


def test_without_a_start_it_is_refused_where_its_gradient_is_noise(kind):
    images = np.random.default_rng(0).uniform(size=(3, 8, 4, 3)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(96, 8)).astype(np.float32)

    def embed(x):
        return x.reshape(len(x), -1) @ weights

    with pytest.raises(InputError, match="odfa needs key") as caught:
        attacks.odfa(unit(embed), images)
    kind("odfa on unit-length features without key", f"InputError: {caught.value}")
    attacks.odfa(embed, images)
    attacks.odfa(unit(embed), images, start=images + 0.01)
    found = attacks.odfa(unit(embed), images, key=jax.random.key(0))
    noise = attacks.noise(images, jax.random.key(0))

    def turned(x):
        return 1 - jnp.sum(unit(embed)(x) * unit(embed)(images), axis=1)

    assert (turned(found) > 3 * turned(noise)).all()
