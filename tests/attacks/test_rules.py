"""From gradient to step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import attacks
from jaxreid.errors import InputError


def images_of(*values):
    """One image [1,1,n,1]."""
    return jnp.asarray(values, jnp.float32).reshape(1, 1, -1, 1)


def test_two_steps_of_the_momentum_rule():
    rule = attacks.momentum_step(jnp.sign, 0.1, 0.5)
    first, second = images_of(3.0, -1.0), images_of(-1.0, -1.0)
    state = rule.init(first)
    step, state = rule.update(first, state)
    np.testing.assert_allclose(step, images_of(0.1, -0.1))
    # 0.5 * (3/4, -1/4) + (-1/2, -1/2) = (-1/8, -5/8): normalised before it is accumulated. The raw
    # sum 0.5 * (3, -1) + (-1, -1) = (1/2, -3/2) would step the other way.
    step, state = rule.update(second, state)
    np.testing.assert_allclose(step, images_of(-0.1, -0.1))


def test_momentum_accumulates_gradients_and_not_signs():
    rule = attacks.momentum_step(jnp.sign, 1.0, 1.0)
    first, second = images_of(0.9, 0.1), images_of(-0.2, -0.8)
    state = rule.init(first)
    _, state = rule.update(first, state)
    step, _ = rule.update(second, state)
    np.testing.assert_allclose(step, images_of(1.0, -1.0))


def test_normalisation_is_per_image_and_safe_at_zero():
    gradient = jnp.concatenate([images_of(2.0, -2.0), images_of(0.0, 0.0), images_of(0.0, 8.0)])
    normalised, _ = attacks.l1_normalize().update(gradient, None)
    expected = jnp.concatenate([images_of(0.5, -0.5), images_of(0.0, 0.0), images_of(0.0, 1.0)])
    np.testing.assert_array_equal(normalised, expected)


def test_decay_may_be_traced():
    def second_step(decay):
        rule = attacks.momentum_step(lambda g: g, 1.0, decay)
        state = rule.init(images_of(1.0))
        _, state = rule.update(images_of(1.0), state)
        return rule.update(images_of(1.0), state)[0].ravel()

    np.testing.assert_allclose(jax.vmap(second_step)(jnp.array([0.0, 0.5])), [[1.0], [1.5]])


@pytest.mark.parametrize("decay", [-1.0, np.nan, np.inf])
def test_bad_decay_is_named(decay):
    with pytest.raises(InputError, match="decay must be finite"):
        attacks.momentum_step(jnp.sign, 0.1, decay)
