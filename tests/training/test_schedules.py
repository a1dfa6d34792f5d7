"""Learning rates by the numbers of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.training import schedules


def at(schedule, *epochs):
    traced = jax.jit(schedule)(jnp.asarray(epochs[0], jnp.float32))
    values = [float(schedule(epoch)) for epoch in epochs]
    np.testing.assert_allclose(traced, values[0], rtol=1e-6)
    return values


def test_a_tenth_at_epochs_20_and_40():
    found = at(schedules.steps((20, 40), 0.1), 0, 19.99, 20, 39.99, 40, 59)
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)
    assert at(schedules.steps((), 0.1), 7) == [1]


def test_constant_to_epoch_50_then_a_thousandth_over_100():
    found = at(schedules.exponential(50, 100, 0.001), 0, 50, 75, 100, 150)
    np.testing.assert_allclose(found, [1, 1, 0.001**0.25, 0.001**0.5, 0.001], rtol=1e-5)


def test_cosine_ramp_and_warm_up():
    found = at(schedules.cosine(2, 12), 0, 2, 7, 12, 15)
    np.testing.assert_allclose(found, [1, 1, 0.5, 0, 0], atol=1e-6)
    assert at(schedules.ramp(4), 0, 1, 4, 9) == [0, 0.25, 1, 1]
    assert at(schedules.ramp(0), 0, 1) == [1, 1]
    assert at(schedules.constant(), 0, 100) == [1, 1]
    found = at(schedules.warmed_up(schedules.steps((3,), 0.1), 2), 0, 1, 2, 3)
    np.testing.assert_allclose(found, [0, 0.5, 1, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.steps((20,), 0), "factor must be above 0"),
        (lambda: schedules.exponential(50, 0, 0.1), "must be above 0, got 0 and 0.1"),
        (lambda: schedules.cosine(5, 5), "got epochs 5 to 5"),
        (lambda: schedules.ramp(-1), "must be 0 or more, got -1"),
    ],
)
def test_wrong_numbers_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
