import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreid import models
from jaxreid.errors import InputError

TINY = models.ResNetConfig(depths=(1, 1), widths=(8, 8), expansion=2, stem="patch", stem_width=8)


@pytest.fixture(scope="module")
def model():
    net = models.create(TINY, head="classification", classes=5, rngs=nnx.Rngs(0))
    # Statistics as after some training: fresh ones would make batch and running look alike.
    stats = nnx.state(net, nnx.BatchStat)
    nnx.update(net, jax.tree.map(lambda value: 0.7 * value + 0.1, stats))
    return net


def images(count=4, *, seed=0):
    return jax.random.uniform(jax.random.key(seed), (count, 16, 8, 3))


def same(a, b):
    return all(
        (np.asarray(x) == np.asarray(y)).all()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_features_are_those_of_the_network(model):
    graph, state = nnx.split(model)
    expected = jax.jit(lambda x: nnx.merge(graph, state)(x).features)(images())
    np.testing.assert_array_equal(jax.jit(models.embedding(model))(images()), expected)


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_states_are_never_updated(model, batch_norm):
    graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    before = jax.tree.map(np.array, nnx.state(model))
    for embed in (
        models.embedding(model, batch_norm=batch_norm),
        models.embedding(graph, params, stats, batch_norm=batch_norm),
    ):
        jax.jit(jax.grad(lambda x, embed=embed: embed(x).sum()))(images())
    assert same(before, nnx.state(model))
    assert same(before, nnx.state(nnx.merge(graph, params, stats)))


def test_batch_statistics_are_those_of_the_batch(model):
    features = jax.jit(models.embedding(model, batch_norm="batch"))(images())
    # The feature is the output of a BatchNorm with scale 1 and bias 0.
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-5)
    assert not np.allclose(features, jax.jit(models.embedding(model))(images()), atol=1e-2)


def test_running_features_do_not_depend_on_the_batch(model):
    embed = jax.jit(models.embedding(model))
    together = embed(images())
    others = embed(images().at[1:].set(0.5))
    np.testing.assert_array_equal(together[0], others[0])


def test_normalized_features_have_unit_length(model):
    features = jax.jit(models.embedding(model, normalize=True))(images())
    np.testing.assert_allclose(jnp.linalg.norm(features, axis=1), 1, rtol=1e-5)


def test_normalization_is_differentiable_at_a_zero_feature():
    net = models.create(TINY, head="triplet", dimensions=4, rngs=nnx.Rngs(0))
    net.head.projection.kernel[...] = jnp.zeros_like(net.head.projection.kernel[...])
    gradient = jax.jit(jax.grad(lambda x: models.embedding(net, normalize=True)(x).sum()))(
        images(2)
    )
    assert np.isfinite(gradient).all()


def test_flip_averages_the_image_and_its_mirror_image(model):
    plain, x = jax.jit(models.embedding(model)), images()
    expected = (plain(x) + plain(x[:, :, ::-1])) / 2
    np.testing.assert_allclose(jax.jit(models.embedding(model, flip=True))(x), expected, atol=1e-5)
    unit = jax.jit(models.embedding(model, flip=True, normalize=True))(x)
    norm = jnp.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected / norm, atol=1e-5)


def test_transformations_agree(model):
    graph, state = nnx.split(model)
    x = images(4)

    def loss(state, x):
        return jnp.sum(models.embedding(graph, state)(x) ** 2)

    def two_steps(state, x):
        step = lambda x, _: (x + 0.01 * jnp.sign(jax.grad(loss, 1)(state, x)), None)  # noqa: E731
        return jax.lax.scan(step, x, length=2)[0]

    expected = jax.jit(two_steps)(state, x)
    assert not np.allclose(expected, x)
    replicas = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), state)
    mapped = jax.pmap(two_steps)(replicas, x[:, None])[:, 0]
    # The sign of a gradient near zero may differ between programs; elsewhere all agree.
    assert np.mean(np.abs(mapped - expected) < 1e-6) > 0.99
    single = jax.vmap(lambda x: two_steps(state, x[None])[0])(x)
    assert np.mean(np.abs(single - expected) < 1e-6) > 0.99


def test_wrong_calls_are_named(model):
    graph, _ = nnx.split(model)
    with pytest.raises(InputError, match=r"embedding\(graph, \*states\)"):
        models.embedding(graph)
    with pytest.raises(InputError, match=r"embedding\(model\)"):
        models.embedding(model, nnx.state(model))
