"""The penalty on slopes across bisectors: its definition, its gradient, one device and several."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import create, embedding
from jaxreid.training import (
    Defense,
    TrainState,
    bisector_penalty,
    cross_entropy_loss,
    optimizer,
    train_step,
)

# The last person is alone.
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 3], np.int32)
EPS = np.array([1.0, 2.0, 4.0]) / 255
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(8, 4, 2, 3))
MATRIX = RNG.normal(size=(24, 5))


def definition(features, slopes, eps, labels=LABELS):
    """Penalty and share, by loops; slopes(i, direction) is the gradient to the pixels of i."""
    about = np.sqrt(np.mean(np.sum((features - features.mean(0)) ** 2, 1)))
    found, crossing = [], []
    for i, f in enumerate(features):
        away = np.sum((features - f) ** 2, 1)
        own = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
        others = [j for j in range(len(labels)) if labels[j] != labels[i]]
        if not own or not others:
            continue
        p = features[min(own, key=lambda j: away[j])]
        n = features[min(others, key=lambda j: away[j])]
        apart = np.linalg.norm(p - n)
        m = (np.sum((f - n) ** 2) - np.sum((f - p) ** 2)) / (2 * apart)
        missing = np.sum(np.abs(slopes(i, (p - n) / apart)) * eps) - m
        found.append(max(missing, 0) / about)
        crossing.append(missing > 0)
    return np.mean(found), np.mean(crossing)


def by_hand(matrix, eps=EPS, labels=LABELS):
    features = IMAGES.reshape(8, -1) @ matrix
    return definition(features, lambda i, way: (matrix @ way).reshape(4, 2, 3), eps, labels)


def value(matrix, eps=EPS, labels=LABELS):
    penalty = bisector_penalty(3.0, eps)
    return penalty(lambda x: x.reshape(8, -1) @ matrix, jnp.asarray(IMAGES), labels, Collective())


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_it_is_its_definition(scale):
    eps = scale * EPS
    with jax.enable_x64(True):
        total, metrics = value(MATRIX, eps)
        expected, crossing = by_hand(MATRIX, eps)
        np.testing.assert_allclose(metrics["bisector"], expected, rtol=1e-9)
        np.testing.assert_allclose(total, 3 * expected, rtol=1e-9)
        np.testing.assert_allclose(metrics["crossing"], crossing, rtol=1e-9)
        # Another unit of the features is the same question.
        again, _ = value(7 * MATRIX, eps)
        np.testing.assert_allclose(again, total, rtol=1e-9)
    assert expected > 0.01


@pytest.mark.slow
def test_whoever_has_no_pair_is_not_asked():
    for labels in (np.arange(8), np.zeros(8, int)):
        total, metrics = value(MATRIX, labels=labels)
        assert float(total) == float(metrics["crossing"]) == 0
        slope = jax.grad(lambda a, labels=labels: value(a, labels=labels)[0])(jnp.asarray(MATRIX))
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.slow
def test_features_in_one_place_have_no_bisector():
    total, slope = jax.value_and_grad(lambda a: value(a)[0])(jnp.zeros((24, 5)))
    assert float(total) == 0
    assert np.isfinite(slope).all()


def fresh(axis_name=None):
    model = create(trainings.SHAPE, classes=4, axis_name=axis_name, rngs=nnx.Rngs(0))
    return TrainState.create(model, optimizer("sgd", lambda count: 0.1))


DEFENSE = Defense(penalty=bisector_penalty(0.5, 8 / 255))
OPTIONS = {"loss_fn": cross_entropy_loss(), "defense": DEFENSE}


@pytest.fixture(scope="module")
def stepped():
    learn = partial(train_step, **OPTIONS)
    return jax.jit(learn)(fresh(), trainings.examples(LABELS), jax.random.key(0))


@pytest.mark.slow
def test_a_step_descends_the_slope_of_the_network_of_now(stepped):
    """By a second route: the margin as it is written, differentiated twice."""
    state, batch = fresh(), trainings.examples(LABELS)
    images = jnp.asarray(batch.images)
    features = np.asarray(jax.jit(state.embed())(images), np.float64)
    squares = np.sum((features[:, None] - features) ** 2, 2)
    same = LABELS[:, None] == LABELS
    own = np.argmin(np.where(same & ~np.eye(8, dtype=bool), squares, np.inf), 1)
    other = np.argmin(np.where(same, np.inf, squares), 1)

    def objective(params):
        network = embedding(state.graph, params, state.stats)
        everyone = network(images)
        p, n = everyone[own], everyone[other]

        def margins(images):
            f = network(images)
            squares = jnp.sum((f - n) ** 2, 1) - jnp.sum((f - p) ** 2, 1)
            # The last one has no other image.
            return squares[:7] / (2 * jnp.linalg.norm(p - n, axis=1)[:7])

        steep = jnp.sum(jnp.abs(jax.grad(lambda x: jnp.sum(margins(x)))(images)), (1, 2, 3))
        missing = jax.nn.relu(8 / 255 * steep[:7] - margins(images))
        spread = jnp.mean(jnp.sum((everyone - everyone.mean(0)) ** 2, 1))
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        entropy, _ = cross_entropy_loss()(
            model(images, batch_norm="batch"), batch.labels, Collective()
        )
        return entropy + 0.5 * jnp.mean(missing) / jnp.sqrt(spread)

    loss, gradient = jax.jit(jax.value_and_grad(objective))(state.params)
    after, metrics = stepped
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4)
    assert float(metrics["bisector"]) > 1e-3
    # Nesterov's first step is 1.9 times the gradient.
    found = jax.tree.map(lambda a, b: (a - b) / 0.19, state.params, after.params)
    near = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(near, found, gradient)


@pytest.mark.slow
def test_four_devices_do_what_one_does(stepped):
    mapped = jax.pmap(
        partial(train_step, **OPTIONS, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0, None),
    )
    split = jax.tree.map(
        lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), trainings.examples(LABELS)
    )
    four, of_four = mapped(fresh("devices"), split, jax.random.key(0))
    after, metrics = stepped
    for name in ("loss", "bisector", "crossing"):
        np.testing.assert_allclose(of_four[name], np.full(4, metrics[name]), rtol=1e-3)
    near = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(lambda ours, one: near(ours[0], one), four.params, after.params)


@pytest.mark.parametrize("numbers", [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, np.zeros(3))])
def test_numbers_that_are_not_above_zero_are_refused(numbers):
    with pytest.raises(InputError, match="weight and eps must be above 0"):
        bisector_penalty(*numbers)
