"""The loop, and an attack of one's own put together from its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy import random_embed, random_images

from jaxreid import attacks
from jaxreid.errors import InputError

THREAT = attacks.linf(4 / 255)
RULE = attacks.steepest_step(THREAT.steepest, 1 / 255)


def brightness(images):
    return images.mean((1, 2, 3))


def test_own_objective_rule_and_threat_in_a_few_lines():
    embed, x = random_embed(), random_images(3)
    target = embed(random_images(3, seed=1))

    def similarity(images):
        f = embed(images)
        norms = jnp.linalg.norm(f, axis=1) * jnp.linalg.norm(target, axis=1)
        return (f * target).sum(1) / norms

    rule = optax.chain(optax.scale_by_adam(), attacks.steepest_step(jnp.sign, 1 / 255))
    ascent = attacks.projected_ascent(similarity, x, threat=THREAT, rule=rule, steps=10)
    assert ascent.objective.shape == (10, 3)
    assert (similarity(ascent.images) > ascent.objective[0]).all()
    assert jnp.abs(ascent.images - x).max() <= 4 / 255 + 1e-7


def test_objective_values_are_those_where_each_step_set_out():
    x = random_images(2) * 0.5 + 0.2
    ascent = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=3)
    expected = [brightness(x + step / 255) for step in range(3)]
    np.testing.assert_allclose(ascent.objective, expected, rtol=1e-5)
    np.testing.assert_allclose(ascent.images, x + 3 / 255, atol=1e-6)


def test_projection_stops_at_the_budget():
    x = random_images(2) * 0.5 + 0.2
    ascent = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=9)
    np.testing.assert_allclose(ascent.images, x + 4 / 255, atol=1e-7)


def test_no_steps_return_the_projected_start():
    x = random_images(2) * 0.5 + 0.2
    still = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=0)
    np.testing.assert_array_equal(still.images, x)
    assert still.objective.shape == (0, 2)
    far = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=0, start=x + 1)
    np.testing.assert_allclose(far.images, x + 4 / 255, atol=1e-7)


def test_random_start_depends_on_the_example_and_not_on_the_batch():
    x, key = random_images(6), jax.random.key(0)

    def start(images, keys):
        return attacks.projected_ascent(
            brightness, images, threat=THREAT, rule=RULE, steps=0, key=keys
        ).images

    whole = start(x, key)
    keys = attacks.example_keys(key, np.arange(6))
    np.testing.assert_array_equal(whole, start(x, keys))
    np.testing.assert_array_equal(whole[4:], start(x[4:], keys[4:]))
    order = np.array([3, 0, 5])
    np.testing.assert_array_equal(whole[order], start(x[order], keys[order]))


def test_legacy_keys_work_too():
    x = random_images(2)
    old, new = jax.random.PRNGKey(0), jax.random.key(0)
    np.testing.assert_array_equal(attacks.noise(x, old), attacks.noise(x, new))
    keys = attacks.example_keys(old, np.arange(2))
    np.testing.assert_array_equal(attacks.noise(x, old), attacks.noise(x, keys))


def test_objective_of_the_wrong_shape_is_named():
    with pytest.raises(InputError, match=r"the objective must return \[B\] = \[2\]"):
        attacks.projected_ascent(
            lambda x: x.sum(), random_images(2), threat=THREAT, rule=RULE, steps=1
        )
