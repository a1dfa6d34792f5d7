"""The signed-guide objective: closed form, gradients, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import random_embed, random_images

from jaxreid import attacks
from jaxreid.attacks import Guides, signed_guides
from jaxreid.errors import InputError


def written_out(features, guides):
    distances = np.sum((np.asarray(features)[:, None] - guides.features) ** 2, axis=-1)
    return np.sum(np.asarray(guides.weights) * distances, axis=1)


@settings(max_examples=30, deadline=None)
@given(
    weights=st.lists(st.sampled_from([1.0, -1.0, 0.0]), min_size=1, max_size=6),
    offset=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0, 1000),
)
def test_closed_form_equals_the_sum_written_out(weights, offset, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(offset, 1, (3, 5)).astype(np.float32)
    guides = Guides(
        rng.normal(offset, 1, (3, len(weights), 5)).astype(np.float32),
        np.tile(np.float32(weights), (3, 1)),
    )
    # Far from the origin, where W ||f||^2 - 2 f.m + c would cancel to nothing.
    values = signed_guides(lambda x: jnp.asarray(features), guides)(random_images(3))
    np.testing.assert_allclose(values, written_out(features, guides), rtol=1e-4, atol=1e-3)


def test_one_guide_gives_exactly_its_distance():
    f, g = np.float32([[3, 4]]), np.float32([[[0, 0]]])
    objective = signed_guides(lambda x: jnp.asarray(f), Guides(g, np.ones((1, 1), np.float32)))
    assert objective(random_images(1))[0] == 25


def test_gradient_equals_finite_differences():
    with jax.enable_x64(True):
        embed, x = random_embed(dtype=np.float64), random_images(2, dtype=np.float64)
        rng = np.random.default_rng(0)
        guides = Guides(rng.normal(size=(2, 3, 16)), np.array([[1.0, -1.0, 1.0], [1.0, 0.0, -1.0]]))
        objective = signed_guides(embed, guides)
        gradient = jax.grad(lambda x: objective(x).sum())(x)
        direction = jnp.asarray(rng.normal(size=x.shape))
        h = 1e-6
        finite = (objective(x + h * direction) - objective(x - h * direction)).sum() / (2 * h)
        np.testing.assert_allclose(jnp.sum(gradient * direction), finite, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("weights", [np.ones(64), np.r_[np.ones(63), -np.ones(1)]])
def test_cost_does_not_grow_with_the_number_of_guides(weights):
    embed, x = random_embed(), jnp.full((4, 64, 32, 3), 0.5)

    def flops(count):
        features = jnp.ones((4, count, 16))
        signs = jnp.tile(jnp.asarray(weights[-count:], jnp.float32), (4, 1))

        def attack(x, features, signs):
            objective = signed_guides(embed, Guides(features, signs))
            threat = attacks.linf(5 / 255)
            rule = attacks.steepest_step(threat.steepest, 1 / 255)
            return attacks.projected_ascent(objective, x, threat=threat, rule=rule, steps=15)

        cost = jax.jit(attack).lower(x, features, signs).compile().cost_analysis()
        return cost["flops"]

    assert flops(64) < 1.02 * flops(1)


def test_wrong_shapes_are_named():
    embed = random_embed()
    with pytest.raises(InputError, match=r"guides.weights must have shape \[B,G\] with G=2"):
        signed_guides(embed, Guides(np.ones((3, 2, 16)), np.ones((3, 4))))
    objective = signed_guides(embed, Guides(np.ones((3, 2, 16)), np.ones((3, 2))))
    with pytest.raises(InputError, match="embed returned"):
        objective(random_images(4))
    with pytest.raises(InputError, match="weights must be finite"):
        signed_guides(embed, Guides(np.ones((3, 2, 16)), np.full((3, 2), np.nan)))
    several = signed_guides(lambda x: (x, x), Guides(np.ones((3, 2, 16)), np.ones((3, 2))))
    with pytest.raises(InputError, match=r"embed must return one array .* got a tuple"):
        several(random_images(3))
    flat = signed_guides(lambda x: x.sum(), Guides(np.ones((3, 2, 16)), np.ones((3, 2))))
    empty = signed_guides(
        lambda x: jnp.zeros((len(x), 0)), Guides(np.ones((3, 2, 16)), np.ones((3, 2)))
    )
    for wrong in (flat, empty):
        with pytest.raises(InputError, match=r"embed must return floating point features \[B,D\]"):
            wrong(random_images(3))
