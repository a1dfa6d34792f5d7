"""Optimisers by hand, learning rates by the numbers of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trainings

from jaxreid.errors import InputError
from jaxreid.training import equal_average, moving_average, optimizer
from jaxreid.training.config import OptimizerConfig
from jaxreid.training.optim import averaging_of, schedule, warmup

PARAMS = {"a": np.array([0.5, -1.0, 2.0]), "b": np.array([[3.0]])}
GRADIENTS = [
    {"a": np.array([0.1, -0.2, 0.3]), "b": np.array([[1.0]])},
    {"a": np.array([-0.3, 0.1, 0.0]), "b": np.array([[-2.0]])},
]


def rate(count):
    return jnp.where(count == 0, 0.1, 0.01)


def descend(transformation):
    params = {name: jnp.asarray(value, jnp.float32) for name, value in PARAMS.items()}
    state = transformation.init(params)
    for gradient in GRADIENTS:
        updates, state = transformation.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def check(found, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_by_hand(decoupled):
    decay = 0.05
    expected = {}
    for name, start in PARAMS.items():
        x, m, v = start.copy(), 0.0, 0.0
        for t, (gradient, length) in enumerate(zip(GRADIENTS, (0.1, 0.01), strict=True), 1):
            g = gradient[name] + (0 if decoupled else decay * x)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            x = x - length * (step + (decay * x if decoupled else 0))
        expected[name] = x
    name = "adamw" if decoupled else "adam"
    check(descend(optimizer(name, rate, weight_decay=decay)), expected)


def test_sgd_with_nesterov_momentum_by_hand():
    expected = {}
    for name, start in PARAMS.items():
        x, m = start.copy(), 0.0
        for gradient, length in zip(GRADIENTS, (0.1, 0.01), strict=True):
            g = gradient[name] + 0.05 * x
            m = 0.9 * m + g
            x = x - length * (g + 0.9 * m)
        expected[name] = x
    check(descend(optimizer("sgd", rate, weight_decay=0.05)), expected)


def test_long_gradients_are_shortened_before_anything_else():
    length = [np.sqrt(sum((g**2).sum() for g in gradient.values())) for gradient in GRADIENTS]
    limit = 0.5 * (length[0] + length[1])  # between the two
    clipped = [
        {name: g * min(1.0, limit / norm) for name, g in gradient.items()}
        for gradient, norm in zip(GRADIENTS, length, strict=True)
    ]
    found = optimizer("sgd", rate, clip_norm=limit, weight_decay=0.1)
    plain = optimizer("sgd", rate, weight_decay=0.1)
    params = {name: jnp.asarray(value, jnp.float32) for name, value in PARAMS.items()}
    for gradient, short in zip(GRADIENTS, clipped, strict=True):
        ours, _ = found.update(gradient, found.init(params), params)
        theirs, _ = plain.update(short, plain.init(params), params)
        check(ours, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "lion"}, "optimizer must be one of .*, got 'lion'"),
        ({"weight_decay": -1.0}, "got -1.0 and 0"),
        ({"clip_norm": -1.0}, "must be 0 or more"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        optimizer(**{"name": "adam", "learning_rate": rate, **options})


def factors(epochs, changes):
    """Factors of the peak at some epochs; traced they are the same."""
    fields = {f"schedule.{name}": value for name, value in changes.items()}
    config = trainings.settings({**fields, "epochs": 12})
    factor = schedule(config.schedule, epochs=config.epochs)
    values = [float(factor(jnp.asarray(epoch, jnp.float32))) for epoch in epochs]
    traced = [float(jax.jit(factor)(jnp.asarray(epoch, jnp.float32))) for epoch in epochs[:3]]
    np.testing.assert_allclose(traced, values[:3], rtol=1e-6)
    return values


def test_a_tenth_at_epochs_20_and_40():
    steps = {"name": "steps", "boundaries": "(20,40)", "factor": 0.1}
    found = factors((0, 19.99, 20, 39.99, 40, 59), steps)
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)
    found = factors((0, 1, 2, 20), {**steps, "warmup_epochs": 2.0})
    np.testing.assert_allclose(found, [0, 0.5, 1, 0.1], rtol=1e-6)


def test_constant_to_epoch_50_then_a_thousandth_over_100():
    found = factors((0, 50, 75, 100, 150), {"name": "exponential"})
    np.testing.assert_allclose(found, [1, 1, 0.001**0.25, 0.001**0.5, 0.001], rtol=1e-5)


def test_cosine_and_its_warm_up():
    found = factors((0, 1, 2, 7, 12, 15), {"name": "cosine", "warmup_epochs": 2.0})
    np.testing.assert_allclose(found, [0, 0.5, 1, 0.5, 0, 0], atol=1e-6)
    assert [float(warmup(4)(epoch)) for epoch in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
    assert [float(warmup(0)(epoch)) for epoch in (0, 1)] == [1, 1]
    assert factors((0, 100), {"name": "constant"}) == [1, 1]


def averages(rule, params):
    """The average after each update, which begins as the parameters of before."""
    average, found = params[0], []
    for updates, now in enumerate(params[1:], 1):
        weight = np.float64(rule(np.int32(updates)))
        average = weight * now + (1 - weight) * average
        found.append(average)
    return found


PATH = np.array([5.0, 4.0, 8.0, -2.0, 6.0, 1.0])


def test_a_moving_average():
    assert averages(moving_average(0.75), PATH[:3]) == [4.75, 5.5625]


@pytest.mark.parametrize("after", [0, 2])
def test_an_equal_average_is_the_mean_from_an_update_on(after):
    found = averages(equal_average(after), PATH)
    for updates, average in enumerate(found, 1):
        expected = PATH[after + 1 : updates + 1].mean() if updates > after else PATH[updates]
        np.testing.assert_allclose(average, expected, rtol=1e-6)
    with pytest.raises(InputError, match="must be 0 or more, got -1"):
        equal_average(-1)


def test_the_average_that_a_configuration_asks_for():
    assert averaging_of(OptimizerConfig(), 10) is None
    assert averaging_of(OptimizerConfig(ema=0.75), 10)(np.int32(99)) == 0.25
    rule = averaging_of(OptimizerConfig(swa_from_epoch=1.5), 10)
    assert [float(rule(np.int32(updates))) for updates in (1, 16, 17, 19)] == [1, 1, 0.5, 0.25]
    with pytest.raises(InputError, match=r"two averages of one result: .* got 0\.9 and 2"):
        OptimizerConfig(ema=0.9, swa_from_epoch=2)
    with pytest.raises(InputError, match="swa_from_epoch must be less than epochs; got 12 of 12"):
        trainings.settings({"epochs": 12, "optimizer.swa_from_epoch": 12.0})
