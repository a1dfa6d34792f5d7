"""What a defense minimises: its terms by their definitions, on one device and on several."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses import feature_shift, similarity_divergence
from jaxreid.models import Outputs, create
from jaxreid.training import (
    Attacked,
    Defense,
    TrainState,
    consistent,
    cross_entropy_loss,
    optimizer,
    precision_loss,
    train_step,
    triplet_loss,
    weight_perturbation,
    weighted_losses,
)

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
KEY = jax.random.key(0)
RATE = 0.1


def batch_of(rows=8, seed=0):
    return trainings.examples(LABELS[:rows], seed=seed)


def fresh(axis_name=None):
    model = create(trainings.SHAPE, classes=3, axis_name=axis_name, rngs=nnx.Rngs(0))
    return TrainState.create(model, optimizer("sgd", lambda count: RATE))


def darker(state, batch, keys, start, devices):
    """An adversary that everybody knows the result of, and no BatchNorm undoes."""
    return Attacked(batch.images**2, batch.images**2, None, {})


def outputs_of(params, state, images):
    model = nnx.merge(state.graph, params, state.stats, copy=True)
    return model(images, batch_norm="batch")


def taken_step(defense, loss_fn=None, **options):
    """The gradient that a step followed, and its metrics."""
    loss_fn = cross_entropy_loss() if loss_fn is None else loss_fn
    state = fresh()
    learn = partial(train_step, loss_fn=loss_fn, adversary=darker, defense=defense, **options)
    after, metrics = jax.jit(learn)(state, batch_of(), KEY)
    # Nesterov's first step is 1.9 times the gradient.
    gradient = jax.tree.map(lambda a, b: (a - b) / (1.9 * RATE), state.params, after.params)
    return gradient, metrics, after


def expected_gradient(objective):
    state, batch = fresh(), batch_of()

    def value(params):
        # One after the other: each is normalised by its own statistics.
        attacked, clean = (outputs_of(params, state, batch.images**p) for p in (2, 1))
        return objective(attacked, clean, batch.labels)

    return jax.jit(jax.value_and_grad(value))(state.params)


close = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5))


def entropy(outputs, labels):
    return cross_entropy_loss()(outputs, labels, Collective())[0]


@pytest.mark.parametrize(
    ("kind", "term"), [("features", feature_shift), ("similarities", similarity_divergence)]
)
def test_trades_is_the_clean_loss_and_the_shift(kind, term):
    defense = Defense(
        attacked_weight=0, clean_weight=1, consistency=consistent(kind, 3.0), together=False
    )
    gradient, metrics, _ = taken_step(defense)
    loss, expected = expected_gradient(
        lambda attacked, clean, labels: (
            entropy(clean, labels) + 3 * term(clean.features, attacked.features)
        )
    )
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    close(gradient, expected)
    assert {"accuracy", "clean_accuracy", "inconsistency"} <= metrics.keys()
    assert float(metrics["inconsistency"]) > 0.01


def test_clean_and_attacked_losses_are_weighed():
    gradient, metrics, after = taken_step(
        Defense(attacked_weight=0.5, clean_weight=2.0, together=False)
    )
    loss, expected = expected_gradient(
        lambda attacked, clean, labels: 0.5 * entropy(attacked, labels) + 2 * entropy(clean, labels)
    )
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    close(gradient, expected)
    # Apart, the running statistics follow one half and then the other.
    stats, batch = fresh(), batch_of()
    model = nnx.merge(stats.graph, stats.params, stats.stats, copy=True)
    for power in (2, 1):
        model(batch.images**power, batch_norm="batch")
    close(after.stats, nnx.split(model, nnx.Param, ...)[2])


def test_together_both_halves_share_their_statistics():
    gradient, _, _ = taken_step(Defense(clean_weight=1.0))
    state, batch = fresh(), batch_of()

    def value(params):
        both = jnp.concatenate([batch.images**2, batch.images])
        outputs = outputs_of(params, state, both)
        return 2 * entropy(outputs, np.tile(batch.labels, 2))

    close(gradient, jax.jit(jax.grad(value))(state.params))


@pytest.mark.slow
def test_weights_are_moved_uphill_before_the_gradient_is_taken():
    size = 0.05
    gradient, metrics, after = taken_step(Defense(perturbation=weight_perturbation(size)))
    state, batch = fresh(), batch_of()

    def value(params):
        return entropy(outputs_of(params, state, batch.images**2), batch.labels)

    loss, uphill = jax.jit(jax.value_and_grad(value))(state.params)

    def moved(weights, slope):
        length = np.linalg.norm(slope)
        if weights.ndim < 2 or length == 0:
            return weights
        return weights + size * np.linalg.norm(weights) / length * slope

    there = jax.tree.map(moved, state.params, uphill)
    assert float(value(there)) > float(loss)
    close(gradient, jax.jit(jax.grad(value))(there))
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    close(after.stats, taken_step(Defense())[2].stats)
    shares = [
        np.linalg.norm(a - b) / np.linalg.norm(b)
        for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(state.params), strict=True)
        if np.ndim(a) > 1
    ]
    np.testing.assert_allclose(shares, size, rtol=1e-4)


def test_a_gradient_of_zero_moves_nothing():
    weights = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    zero = jax.tree.map(jnp.zeros_like, weights)
    moved = weight_perturbation(0.1)(weights, zero)
    jax.tree.map(np.testing.assert_array_equal, moved, weights)


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False])
def test_four_devices_do_what_one_does(together):
    """Two terms, three losses and moved weights: all over the whole batch."""
    loss_fn = weighted_losses(
        [(1.0, cross_entropy_loss()), (0.5, triplet_loss()), (0.5, precision_loss())]
    )
    defense = Defense(
        clean_weight=0.5,
        consistency=consistent("similarities", 2.0),
        together=together,
        perturbation=weight_perturbation(0.02),
    )
    options = {"loss_fn": loss_fn, "adversary": darker, "defense": defense}
    one, metrics = jax.jit(partial(train_step, **options))(fresh(), batch_of(), KEY)
    mapped = jax.pmap(
        partial(train_step, **options, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0, None),
    )
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), batch_of())
    four, of_four = mapped(fresh("devices"), split, KEY)
    for name, value in metrics.items():
        np.testing.assert_allclose(of_four[name], np.full(4, value), rtol=2e-3, err_msg=name)
    first = jax.tree.map(lambda leaf: leaf[0], four)
    # The gradient where the weights were moved to: two roundings, one after the other.
    near = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-4))
    near(first.params, one.params)
    close(first.stats, one.stats)


def smoothed_precision(features, labels, factor):
    """Brown et al., (1), by loops."""
    distances = np.linalg.norm(features[:, None] - features, axis=2)
    found = []
    for i, label in enumerate(labels):
        matches = [j for j in range(len(labels)) if labels[j] == label and j != i]
        others = [j for j in range(len(labels)) if labels[j] != label]
        if not matches or not others:
            continue
        t = factor * np.std(distances[i, others])

        def before(j, among, i=i, t=t):
            return sum(1 / (1 + np.exp((distances[i, k] - distances[i, j]) / t)) for k in among)

        found.append(
            np.mean(
                [
                    (1 + before(j, [k for k in matches if k != j]))
                    / (1 + before(j, [k for k in matches if k != j]) + before(j, others))
                    for j in matches
                ]
            )
        )
    return np.mean(found)


@pytest.mark.parametrize("labels", [LABELS, np.array([0, 0, 1, 2, 3, 4, 5, 6], np.int32)])
def test_the_precision_of_a_batch(labels):
    features = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    value, metrics = precision_loss(temperature=0.3)(Outputs(features, None), labels, Collective())
    expected = smoothed_precision(features.astype(float), labels, 0.3)
    np.testing.assert_allclose(value, 1 - expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["batch_precision"], expected, rtol=1e-4)


@pytest.mark.slow
def test_a_batch_without_pairs_has_no_precision_to_lose():
    features = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
    loss = precision_loss()

    def value(x):
        return loss(Outputs(x, None), jnp.arange(4), Collective())[0]

    assert float(value(features)) == 0
    np.testing.assert_array_equal(jax.grad(value)(features), 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Defense(attacked_weight=0).check(), "one of them above 0; got 0 and 0"),
        (lambda: Defense(clean_weight=-1).check(), "0 or more"),
        (lambda: consistent("logits", 1.0), "kind"),
        (lambda: consistent("features", 0.0), "weight and temperature must be above 0"),
        (lambda: weight_perturbation(0.0), "must be above 0, got 0"),
        (lambda: weighted_losses([]), "weights above 0"),
        (lambda: weighted_losses([(0.0, precision_loss())]), "weights above 0"),
    ],
)
def test_what_weighs_nothing_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
