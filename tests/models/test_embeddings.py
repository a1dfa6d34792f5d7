import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreid import attacks, models
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


def sign_steps(embed, x):
    """Two steps of an attack: a gradient inside a scan."""

    def step(x, _):
        return x + 0.01 * jnp.sign(jax.grad(lambda x: jnp.sum(embed(x) ** 3))(x)), None

    return jax.lax.scan(step, x, length=2)[0]


def agree(got, expected):
    # The sign of a gradient near zero may differ between programs; elsewhere all agree.
    return np.mean(np.abs(got - expected) < 1e-6) > 0.99


@pytest.mark.slow
def test_states_are_arguments_of_transformations_as_well(model):
    graph, state = nnx.split(model)
    x = images(4)

    def two_steps(state, x):
        return sign_steps(models.embedding(graph, state), x)

    replicas = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), state)
    got = jax.pmap(two_steps)(replicas, x[:, None])[:, 0]
    assert agree(got, jax.jit(sign_steps)(models.embedding(model), x))


@pytest.mark.slow
def test_an_embedding_is_an_argument_of_every_transformation(model):
    embed, x = models.embedding(model, normalize=True), images(4)
    expected = jax.jit(lambda x: sign_steps(embed, x))(x)
    assert not np.allclose(expected, x)
    assert agree(jax.jit(sign_steps)(embed, x), expected)
    rows = jax.pmap(sign_steps, in_axes=(None, 0))(embed, x[:, None])
    assert agree(rows[:, 0], expected)
    single = jax.vmap(lambda embed, x: sign_steps(embed, x[None])[0], (None, 0))(embed, x)
    assert agree(single, expected)
    carried, _ = jax.lax.scan(lambda embed, _: (embed, None), embed, length=2)
    np.testing.assert_array_equal(carried(x), embed(x))


@pytest.mark.slow
def test_many_embeddings_are_one_vmap(model):
    embed = models.embedding(model)
    other = jax.tree.map(lambda leaf: 1.1 * leaf, embed)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), embed, other)
    got = jax.jit(jax.vmap(lambda embed, x: embed(x), (0, None)))(both, images())
    np.testing.assert_allclose(got, jnp.stack([embed(images()), other(images())]), atol=1e-5)


def test_gradients_reach_the_weights(model):
    embed, x = models.embedding(model), images()
    gradient = jax.jit(jax.grad(lambda embed: jnp.sum(embed(x) ** 3)))(embed)
    graph, state = nnx.split(model)

    def loss(state):
        return jnp.sum(nnx.merge(graph, state, copy=True)(x).features ** 3)

    for got, expected in zip(
        jax.tree.leaves(gradient), jax.tree.leaves(jax.jit(jax.grad(loss))(state)), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_weights_of_an_argument_are_not_written_into_the_program(model):
    embed, x = models.embedding(model), images()
    weights = sum(leaf.size for leaf in jax.tree.leaves(embed))

    def numbers_in(function, *args):
        return sum(np.size(constant) for constant in jax.make_jaxpr(function)(*args).consts)

    key = jax.random.key(0)
    assert numbers_in(lambda x: attacks.sma(embed, x, key), x) >= weights
    # What is left is mean and standard deviation of the pixels, wherever images come in.
    assert numbers_in(attacks.sma, embed, x, key) < 20 < weights


@pytest.mark.slow
def test_other_weights_do_not_compile_again(model):
    attack = jax.jit(attacks.sma, static_argnames="steps")
    first = attack(models.embedding(model), images(), jax.random.key(0), steps=2)
    other = models.create(TINY, head="classification", classes=5, rngs=nnx.Rngs(1))
    second = attack(models.embedding(other), images(), jax.random.key(0), steps=2)
    assert attack._cache_size() == 1
    assert not np.array_equal(first, second)
    attack(models.embedding(other, flip=True), images(), jax.random.key(0), steps=2)
    assert attack._cache_size() == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"mean": [0.1, 0.2, 0.3]},
        {"resize": [32, 16]},
    ],
)
def test_what_no_weight_tells_is_part_of_the_program(model, options):
    apply = jax.jit(lambda embed, x: embed(x))
    before = apply(models.embedding(model), images())
    options = {"head": "classification", "classes": 5, **options}
    other = models.create(TINY, **options, rngs=nnx.Rngs(0))
    nnx.update(other, nnx.state(model))
    embed = models.embedding(other)
    hash(embed.graph)
    np.testing.assert_allclose(apply(embed, images()), embed(images()), atol=1e-5)
    assert not np.allclose(apply(embed, images()), before, atol=1e-3)


def test_wrong_calls_are_named(model):
    graph, _ = nnx.split(model)
    with pytest.raises(InputError, match=r"embedding\(graph, \*states\)"):
        models.embedding(graph)
    with pytest.raises(InputError, match=r"embedding\(model\)"):
        models.embedding(model, nnx.state(model))
