"""Soft labels: what they are made of, and the cross entropy with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.losses import cross_entropy, smoothed_labels, soft_cross_entropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5))
LABELS = np.array([0, 4, 2, 2, 1, 3])


def test_the_own_class_has_its_share_and_the_others_the_rest():
    found = smoothed_labels(np.array([2, 0]), 5, 0.6)
    np.testing.assert_allclose(
        found, [[0.1, 0.1, 0.6, 0.1, 0.1], [0.6, 0.1, 0.1, 0.1, 0.1]], rtol=1e-6
    )
    np.testing.assert_array_equal(smoothed_labels(LABELS, 5), np.eye(5)[LABELS])


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_one_class_of_each_image_is_the_cross_entropy(smoothing):
    # Szegedy et al. give the own class its part of what is spread, too.
    own = 1 - smoothing + smoothing / 5
    targets = np.asarray(smoothed_labels(LABELS, 5, own))
    expected = cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    np.testing.assert_allclose(soft_cross_entropy(LOGITS, targets), expected, rtol=1e-6)


def test_the_cross_entropy_by_its_definition():
    targets = RNG.dirichlet(np.ones(5), 6)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    found = soft_cross_entropy(LOGITS, targets)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, -np.mean(np.sum(targets * np.log(p), 1)), rtol=1e-12)
    with jax.enable_x64(True):
        slope = jax.grad(soft_cross_entropy)(jnp.asarray(LOGITS), targets)
        np.testing.assert_allclose(slope, (p - targets) / 6, rtol=1e-9)


def test_what_no_label_names_may_be_impossible():
    logits = jnp.array([[0.0, -jnp.inf], [1.0, 1.0]])
    targets = np.array([[1.0, 0.0], [0.5, 0.5]])

    def value(x):
        return soft_cross_entropy(jnp.where(jnp.isinf(logits), -1e30, x), targets)

    np.testing.assert_allclose(value(logits), np.log(2) / 2, rtol=1e-6)
    assert np.isfinite(jax.grad(value)(jnp.ones((2, 2)))).all()
