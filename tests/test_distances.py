"""Distances: values, and gradients where they are usually NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid import distances


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_pairwise_equals_row_by_row(seed, rows, columns):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 3)), rng.normal(size=(columns, 3))
    with jax.enable_x64(True):
        for pairwise, single in (
            (distances.pairwise_squared_euclidean, distances.squared_euclidean),
            (distances.pairwise_euclidean, distances.euclidean),
        ):
            np.testing.assert_allclose(pairwise(x, y), single(x[:, None], y[None]), atol=1e-7)
        norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
        np.testing.assert_allclose(distances.pairwise_cosine(x, y), 1 - x @ y.T / norms, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: distances.euclidean(x, x).sum(),
        lambda x: distances.euclidean(x, jnp.ones_like(x)).sum(),
        lambda x: distances.pairwise_euclidean(x, x).sum(),
        lambda x: distances.pairwise_cosine(x, x).sum(),
        lambda x: distances.l2_normalize(x).sum(),
    ],
)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_are_finite_where_distances_and_norms_vanish(function, value):
    gradient = jax.grad(function)(jnp.full((2, 3), value))
    assert np.isfinite(gradient).all()


def test_zero_rows_stay_zero_and_are_at_cosine_distance_one():
    zero, one = jnp.zeros((1, 3)), jnp.ones((1, 3))
    np.testing.assert_array_equal(distances.l2_normalize(zero), zero)
    np.testing.assert_array_equal(distances.pairwise_cosine(zero, one), [[1.0]])
