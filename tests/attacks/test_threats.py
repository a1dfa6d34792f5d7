"""Norm balls: projections, random starts, steepest directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import random_images

from jaxreid.attacks import example_keys, l2, linf
from jaxreid.errors import InputError

KEYS = example_keys(jax.random.key(0), np.arange(3))


def length(change):
    """L2 norm per image, in double precision."""
    return np.linalg.norm(np.asarray(change, np.float64).reshape(len(change), -1), axis=1)


@settings(max_examples=40, deadline=None)
@given(eps=st.floats(0, 1, width=32), reach=st.floats(0, 10, width=32), seed=st.integers(0, 1000))
@pytest.mark.parametrize("bound", [linf, l2])
def test_projection_is_allowed_and_idempotent(bound, eps, reach, seed):
    x = random_images(3, seed)
    candidates = x + reach * np.random.default_rng(seed).normal(size=x.shape).astype(np.float32)
    threat = bound(eps)
    once = threat.project(candidates, x)
    assert once.min() >= 0
    assert once.max() <= 1
    change = np.asarray(once, np.float64) - x
    size = np.abs(change).max() if bound is linf else length(change).max()
    assert size <= eps + 1e-6
    np.testing.assert_allclose(threat.project(once, x), once, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bound", [linf, l2])
def test_allowed_images_are_left_alone(bound):
    x = random_images(3)
    np.testing.assert_array_equal(bound(0.1).project(x, x), x)


def test_starts_are_uniform_in_the_ball():
    x = jnp.full((3, 64, 64, 3), 0.5)
    box = (linf(0.1).random_start(KEYS, x) - x) / 0.1
    assert np.abs(box).max() <= 1 + 1e-5
    assert abs(float(jnp.mean(box))) < 0.01
    assert abs(float(jnp.var(box)) - 1 / 3) < 0.01
    # In a ball of so many dimensions nearly all the volume is at the surface.
    radius = length(l2(2.0).random_start(KEYS, x) - x)
    assert (radius <= 2 + 1e-5).all()
    assert (radius > 1.9).all()
    small = jnp.full((1000, 1, 1, 1), 0.5)
    keys = example_keys(jax.random.key(1), np.arange(1000))
    assert abs(length(l2(0.3).random_start(keys, small) - small).mean() - 0.15) < 0.01


def test_starts_on_the_surface_reach_as_far_as_the_budget_of_each_pixel():
    x = jnp.full((3, 16, 8, 3), 0.5)
    budget = np.array([0.1, 0.0, 0.2], np.float32)
    change = np.abs(linf(budget).surface_start(KEYS, x) - x)
    assert (change <= budget + 1e-6).all()
    share = (change / np.where(budget > 0, budget, 1)).reshape(3, -1)
    np.testing.assert_allclose(share.max(1), 1, rtol=1e-5)
    assert ((share > 0.1) & (share < 0.9)).mean() > 0.4  # and not in the corners
    radius = np.array([0.1, 0.5, 1.0], np.float32).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(
        length(l2(radius).surface_start(KEYS, x) - x), radius.ravel(), rtol=1e-5
    )
    np.testing.assert_array_equal(linf(budget).radius(x), budget)


def test_a_repainted_window_has_its_signs_and_the_budget_is_used_up():
    x, threat = jnp.full((3, 4, 4, 3), 0.5), l2(0.3)
    signs = np.zeros((3, 4, 4, 3), np.float32)
    signs[:, :2, :2] = [1, -1, 1]
    spare = np.zeros((3, 4, 4, 1), bool)
    spare[:, 3:, 3:] = True
    old = threat.project(x + random_images(3)[:, :4, :4] - 0.5, x)
    new = np.asarray(threat.repaint(old, x, signs, spare) - x)
    window = signs != 0
    np.testing.assert_allclose(length(new), 0.3, rtol=1e-5)
    np.testing.assert_array_equal(new[np.broadcast_to(spare, new.shape)], 0)
    rest = ~(window | spare)
    np.testing.assert_allclose(new[rest], np.asarray(old - x)[rest], atol=1e-7)
    along = (new * signs).sum((1, 2, 3))
    assert (along > (np.asarray(old - x) * signs).sum((1, 2, 3))).all()
    # From nothing it is the window of signs alone.
    first = np.asarray(threat.repaint(x, x, signs, spare) - x)
    np.testing.assert_allclose(first, signs * 0.3 / np.sqrt(12), atol=1e-6)
    painted = np.asarray(linf(0.1).repaint(x + 0.03, x, signs, spare) - x)
    np.testing.assert_allclose(painted, np.where(window, 0.1 * signs, 0.03), atol=1e-6)


def test_steepest_directions_have_unit_norm_and_are_safe():
    gradient = jnp.stack([jnp.full((2, 2, 1), 1e-30), jnp.zeros((2, 2, 1)), -jnp.ones((2, 2, 1))])
    np.testing.assert_array_equal(linf(0.1).steepest(gradient)[:, 0, 0, 0], [1, 0, -1])
    np.testing.assert_allclose(length(l2(0.1).steepest(gradient)), [1, 0, 1], atol=1e-6)


def test_bad_budgets_are_named():
    with pytest.raises(InputError, match="eps must be finite"):
        l2(np.inf)
    with pytest.raises(InputError, match="eps must be finite"):
        l2(-1.0)
    with pytest.raises(InputError, match=r"eps must broadcast to \[3, 1, 1, 1\]"):
        l2(np.full(3, 0.1)).project(random_images(3), random_images(3))
    with pytest.raises(InputError, match="per channel"):
        linf(np.full((7, 1, 1, 1), 0.1)).project(random_images(3), random_images(3))
