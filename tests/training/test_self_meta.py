"""A self-meta step: its loss and gradient by their definitions, on one device and on four."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import create
from jaxreid.training import (
    Attacked,
    Defense,
    Opponent,
    TrainState,
    cross_entropy_loss,
    optimizer,
    train_step,
    triplet_loss,
    universal_adversary,
    weighted_losses,
)
from jaxreid.training.self_meta import halves_of, looked_ahead
from jaxreid.training.trainer import train

LABELS = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int32)
BATCH = trainings.examples(LABELS)
KEY = jax.random.key(0)
RATE, AHEAD = 0.1, 0.02
SGD = optimizer("sgd", lambda count: RATE)
LOSS = weighted_losses([(1.0, cross_entropy_loss()), (0.5, triplet_loss())])


def parabola(weights, stats, slopes):
    """Of a mean over examples: L = mean a w^2 / 2; its statistics are the sum of what was seen."""
    value = jnp.mean(slopes) * weights**2 / 2
    return value, (stats + jnp.sum(slopes), {"seen": jnp.mean(slopes)})


SLOPES = np.array([1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 6.0, 2.0], np.float32)


def test_loss_and_gradient_of_parabolas():
    halves = halves_of(SLOPES)
    np.testing.assert_array_equal(halves[0], [1, 2, 3, 6])
    np.testing.assert_array_equal(halves[1], [5, 6, 7, 2])

    def found(weights):
        return looked_ahead(parabola, weights, 1.0, halves, size=0.1, devices=Collective())

    (loss, (stats, metrics)), slope = jax.value_and_grad(found, has_aux=True)(2.0)
    one, two, shrunk = 3, 5, 1 - 0.1 * 3
    np.testing.assert_allclose(loss, one * 2 + two * (shrunk * 2) ** 2 / 2, rtol=1e-6)
    np.testing.assert_allclose(slope, one * 2 + two * shrunk**2 * 2, rtol=1e-6)
    assert float(stats) == 1 + 12 + 20
    assert {name: float(value) for name, value in metrics.items()} == {
        "seen": 4,
        "loss_ahead": pytest.approx(two * (shrunk * 2) ** 2 / 2),
    }


def test_four_devices_step_by_their_mean_gradient():
    def found(weights, slopes):
        devices = Collective("devices")

        def value(weights):
            halves = halves_of(slopes)
            return looked_ahead(parabola, weights, 1.0, halves, size=0.1, devices=devices)

        return devices.mean(jax.value_and_grad(value, has_aux=True)(weights))

    mapped = jax.pmap(found, axis_name="devices", in_axes=(None, 0))
    (loss, _), slope = mapped(2.0, SLOPES.reshape(4, 2))
    np.testing.assert_allclose(loss, np.full(4, 3 * 2 + 5 * (0.7 * 2) ** 2 / 2), rtol=1e-6)
    np.testing.assert_allclose(slope, np.full(4, 3 * 2 + 5 * 0.7**2 * 2), rtol=1e-6)


def darker(state, batch, keys, start, devices):
    """An adversary that everybody knows the result of, and no BatchNorm undoes."""
    return Attacked(batch.images**2, batch.images**2, None, {})


def fresh(axis_name=None, *, discriminator=False):
    model = create(trainings.SHAPE, classes=3, axis_name=axis_name, rngs=nnx.Rngs(0))
    state = TrainState.create(model, SGD)
    rival = Opponent.create(8, SGD, key=jax.random.key(7)) if discriminator else None
    return state.replace(discriminator=rival)


def learning(axis_name=None, *, adversary=darker, **fields):
    return partial(
        train_step,
        loss_fn=LOSS,
        adversary=adversary,
        defense=Defense(meta_step=AHEAD, **fields),
        axis_name=axis_name,
    )


def of_half(state, half, images=BATCH.images):
    """The loss of one half of the attacked images."""

    def value(params):
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        outputs = model(images[half::2] ** 2, batch_norm="batch")
        return LOSS(outputs, LABELS[half::2], Collective())[0]

    return value


def product(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return sum(float(np.vdot(a, b)) for a, b in pairs)


@pytest.mark.slow
def test_a_step_descends_both_halves_and_through_the_step_between():
    """In double precision: derivatives are compared with differences."""
    with jax.enable_x64(True):
        model = create(trainings.SHAPE, classes=3, rngs=nnx.Rngs(0), dtype=jnp.float64)
        state = TrainState.create(model, SGD)
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (state.params, state.stats))
        params, stats = wide
        state = state.replace(params=params, stats=stats, optimizer_state=SGD.init(params))
        batch = BATCH._replace(images=BATCH.images.astype(np.float64))
        first, second = (of_half(state, half, batch.images) for half in (0, 1))
        slope = jax.jit(jax.grad(first))

        @jax.jit
        def ahead(params):
            return jax.tree.map(lambda w, g: w - AHEAD * g, params, slope(params))

        @jax.jit
        def total(params):
            """Without any derivative but the one that the step takes."""
            return first(params) + second(ahead(params))

        after, metrics = jax.jit(learning())(state, batch, KEY)
        np.testing.assert_allclose(metrics["loss"], total(params), rtol=1e-10)
        np.testing.assert_allclose(metrics["loss_ahead"], second(ahead(params)), rtol=1e-10)
        # Nesterov's first step is 1.9 times the gradient.
        found = jax.tree.map(lambda a, b: (a - b) / (1.9 * RATE), params, after.params)
        of_both = jax.jit(jax.grad(second))(ahead(params))
        plain = jax.tree.map(jnp.add, slope(params), of_both)
        through = jax.tree.map(jnp.subtract, found, plain)
        # The part that comes through the step is there, and the whole is the derivative along it.
        assert product(through, through) > 0.05**2 * product(plain, plain)
        for direction in (through, plain):
            reach = 1e-6 / product(direction, direction) ** 0.5
            up, down = (
                total(jax.tree.map(lambda w, d, by=by: w + by * d, params, direction))
                for by in (reach, -reach)
            )
            changed = float(up - down) / (2 * reach)
            np.testing.assert_allclose(changed, product(found, direction), rtol=1e-4)


@pytest.mark.slow
def test_statistics_follow_one_half_and_then_the_other():
    state = fresh()
    after, _ = jax.jit(learning())(state, BATCH, KEY)
    params = state.params
    ahead = jax.tree.map(
        lambda w, g: w - AHEAD * g, params, jax.jit(jax.grad(of_half(state, 0)))(params)
    )
    stats = state.stats
    for half, weights in ((0, params), (1, ahead)):
        model = nnx.merge(state.graph, weights, stats, copy=True)
        model(BATCH.images[half::2] ** 2, batch_norm="batch")
        _, _, stats = nnx.split(model, nnx.Param, ...)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), after.stats, stats)


@pytest.mark.slow
def test_four_devices_do_what_one_does():
    """With clean images, a discriminator and a perturbation of all images beside."""
    options = {
        "adversary": universal_adversary(eps=8 / 255, step_size=2 / 255),
        "clean_weight": 0.5,
        "discriminator_weight": 0.2,
    }
    one, metrics = jax.jit(learning(**options))(
        fresh(discriminator=True).replace(universal=np.zeros((16, 8, 3), np.float32)), BATCH, KEY
    )
    mapped = jax.pmap(learning("devices", **options), axis_name="devices", in_axes=(None, 0, None))
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), BATCH)
    state = fresh("devices", discriminator=True)
    four, of_four = mapped(state.replace(universal=np.zeros((16, 8, 3), np.float32)), split, KEY)
    for name, value in metrics.items():
        np.testing.assert_allclose(of_four[name], np.full(4, value), rtol=2e-3, err_msg=name)
    first = jax.tree.map(lambda leaf: leaf[0], four)
    near = partial(np.testing.assert_allclose, rtol=2e-3, atol=1e-4)
    jax.tree.map(near, first.params, one.params)
    jax.tree.map(near, first.discriminator.params, one.discriminator.params)
    # Signs of gradients near zero may differ between two programs.
    assert np.isclose(first.universal, one.universal, atol=1e-7).mean() > 0.97


@pytest.mark.slow
def test_a_run_of_the_command_line(tmp_path, tiny_data):
    changes = {"dataset.data_dir": tiny_data, "goat.enabled": True, "defense.meta_step": 0.01}
    train(trainings.settings(changes), tmp_path)
    metrics = trainings.lines(tmp_path)
    assert len(metrics) == 10
    assert all(0 < line["loss_ahead"] < line["loss"] for line in metrics)


def test_what_cannot_be_halved_is_refused():
    with pytest.raises(InputError, match="number must be even, got 3"):
        jax.eval_shape(learning(), fresh(), trainings.examples(LABELS[:3]), KEY)
    with pytest.raises(InputError, match="meta_step must be 0 or more, got -1"):
        Defense(meta_step=-1.0).check()
