"""Frozen networks compute what the network computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import drawn

from jaxreid.errors import InputError
from jaxreid.models import SwinConfig, ViTConfig, create, embedding, frozen
from jaxreid.models.non_local import NonLocal
from jaxreid.models.resnet import ResNetConfig

NETWORKS = {
    "bottlenecks": ResNetConfig(depths=(1, 2), widths=(8, 16)),
    "basic": ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16)),
    "ibn, non-local, GeM": ResNetConfig(
        depths=(2, 1), widths=(8, 16), ibn=True, non_local=(1, 0), pooling="gem-learnt"
    ),
    "winograd": ResNetConfig(block="basic", depths=(1, 1), widths=(16, 256), stem="patch"),
    "vit": ViTConfig(width=64, depth=2, heads=2, patch=8, image_size=(32, 16)),
    # Windows of 3 pixels on maps of 8x4 and 4x2: padded.
    "swin": SwinConfig(width=8, depths=(2, 1), heads=(1, 2), window=3),
}


# Compiled as a whole: one by one, the operations of a network compile for longer.
run = jax.jit(lambda function, x: function(x))
freeze = jax.jit(lambda embed, target=None: embed.frozen(target=target), static_argnums=1)


@functools.cache
def network(name):
    """A network whose statistics are not those of a fresh one, so that folding shows."""
    model = drawn(NETWORKS[name], classes=3)
    for _, module in nnx.iter_graph(model):
        if isinstance(module, NonLocal):
            # Cubic in its map: at full size it leaves features whose sine is noise.
            module.W[1].scale[...] *= 0.01
    return model


@pytest.fixture(scope="module")
def model():
    return network("bottlenecks")


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(1), (3, 32, 16, 3))


def close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs, atol=tolerance * float(jnp.abs(theirs).max()))


@jax.jit
def both(embed, x):
    """The gradient of a loss to images, and features."""

    def loss(x):
        features = embed(x)
        return jnp.sum(jnp.sin(features)), features

    return jax.grad(loss, has_aux=True)(x)


# But for running statistics on CPUs, the network with all kinds of layers stands for the others.
CASES = [
    pytest.param(
        *(name, batch_norm, target),
        marks=[pytest.mark.slow]
        * ((batch_norm, target) != ("running", "cpu") and not name.startswith("ibn")),
    )
    for name in NETWORKS
    for batch_norm, target in (("running", "cpu"), ("running", "tpu"), ("batch", "cpu"))
]


@pytest.mark.parametrize(("name", "batch_norm", "target"), CASES)
def test_features_and_gradients_are_the_same(name, images, batch_norm, target):
    plain = embedding(network(name), batch_norm=batch_norm)
    quick = freeze(plain, target)
    (slope, features), (expected_slope, expected) = both(quick, images), both(plain, images)
    close(features, expected)
    close(slope, expected_slope, 1e-4)


@pytest.mark.slow
def test_logits_and_the_network_itself_stay(model, images):
    before = nnx.state(model)
    logits = nnx.jit(lambda model, x: model(x).logits)
    close(logits(frozen(model), images), logits(model, images))
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model))


def test_options_of_the_embedding_stay(model, images):
    plain = embedding(model, normalize=True, flip=True)
    close(run(freeze(plain), images), run(plain, images))


@pytest.mark.parametrize("name", ["bottlenecks", "vit"])
def test_weights_have_no_gradient(name, images):
    quick = freeze(embedding(network(name)))
    gradients = jax.jit(jax.grad(lambda embed: jnp.sum(embed(images))))(quick)
    products = [
        leaf
        for path, leaf in jax.tree.leaves_with_path(gradients)
        if any(part in jax.tree_util.keystr(path) for part in ("weights", "adjoint", "['mlp']"))
    ]
    assert products
    assert not any(np.any(leaf) for leaf in products)


def test_freezing_is_traceable_and_maps_over_images(images):
    plain = embedding(network("winograd"))
    traced = jax.jit(lambda embed, x: embed.frozen()(x))(plain, images)
    close(traced, run(plain, images))
    stacked = jnp.stack([images, images[::-1]])
    close(jax.jit(jax.vmap(freeze(plain)))(stacked)[1], run(plain, images[::-1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bottlenecks", "vit"])
def test_second_derivatives(name, images):
    size = NETWORKS[name].image_size
    model = create(NETWORKS[name], head="none", image_size=size, rngs=nnx.Rngs(0))

    def curvature(embed):
        def slope(x):
            return jnp.sum(jax.grad(lambda y: jnp.sum(jnp.sin(embed(y))))(x) ** 2)

        return jax.grad(slope)(images[:1])

    close(curvature(embedding(model).frozen()), curvature(embedding(model)), 1e-4)


@pytest.mark.slow
def test_folded_statistics_are_not_those_of_a_batch(model, images):
    with pytest.raises(InputError, match="frozen for running statistics"):
        frozen(model)(images, batch_norm="batch")


def test_frozen_twice_is_frozen_once(model, images):
    once = freeze(embedding(model))
    assert once.frozen() is once
    again = frozen(nnx.merge(once.graph, *once.states))
    assert nnx.graphdef(again) == once.graph


def test_half_precision_stays_half(images):
    model = drawn(NETWORKS["bottlenecks"], head="none", dtype=jnp.bfloat16)
    plain = embedding(model)
    close(run(freeze(plain), images), run(plain, images), 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu", "tpu"])
def test_silu_is_frozen_to_the_last_digits(images, target):
    config = ResNetConfig(depths=(1, 2), widths=(8, 16), ibn=True, activation="silu")
    with jax.enable_x64(True):
        model = drawn(config, head="none", dtype=jnp.float64)
        # What goes into the kernels is rounded as they are.
        nnx.update(model, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), nnx.state(model)))
        plain, x = embedding(model), images.astype(jnp.float64)
        quick = freeze(plain, target)
        for found, expected in zip(both(quick, x), both(plain, x), strict=True):
            assert expected.dtype == jnp.float64
            close(found, expected, 1e-9)
