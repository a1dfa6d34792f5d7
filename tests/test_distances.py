"""Distances: values, and gradients where they are usually NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid import distances


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 3), columns=st.integers(1, 3))
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


# Spread 1 about a point that far from the origin, then all of it times a scale.
CORNERS = [
    (0, 1),
    (1000, 1),
    (3000, 1),
    (1e5, 1),
    (0, 1e25),
    (1000, 1e25),
    (0, 1e-23),
    (1000, 1e-23),
    (0, 1e19),
    (0, 1e-20),
]
PAIRWISE = (
    distances.pairwise_euclidean,
    distances.pairwise_squared_euclidean,
    distances.pairwise_cosine,
)


def sets(offset=0.0, scale=1.0, dtype=np.float32, rows=(9, 7)):
    rng = np.random.default_rng(5)
    return [((rng.normal(size=(n, 8)) + offset) * scale).astype(dtype) for n in rows]


def exact(x, y):
    """Differences and Euclidean distances of all pairs, in 80 bits and without a product."""
    difference = x[:, None].astype(np.longdouble) - y[None].astype(np.longdouble)
    return difference, np.sqrt((difference**2).sum(-1))


def unit(x):
    return x / np.sqrt((x.astype(np.longdouble) ** 2).sum(-1, keepdims=True))


@pytest.mark.parametrize(("offset", "scale"), CORNERS)
def test_distances_far_from_the_origin_large_and_small(offset, scale):
    x, y = sets(offset, scale)
    _, true = exact(x, y)
    np.testing.assert_allclose(distances.pairwise_euclidean(x, y), true, rtol=2e-6)
    np.testing.assert_allclose(distances.euclidean(x[:, None], y[None]), true, rtol=1e-6)
    np.testing.assert_allclose(distances.l2_normalize(x), unit(x), rtol=3e-7)
    if 1e-18 < scale < 1e18:
        squared = distances.pairwise_squared_euclidean(x, y)
        np.testing.assert_allclose(squared, true**2, rtol=4e-6)
    # Unit rows are rounded to 6e-8: what that is of the angle between them is lost.
    cosine = exact(unit(x), unit(y))[1] ** 2 / 2
    lost = 1e-6 * max(1, offset)
    np.testing.assert_allclose(distances.pairwise_cosine(x, y), cosine, rtol=lost, atol=2e-7 / lost)
    assert (np.argsort(distances.pairwise_euclidean(x, y), 1) == np.argsort(true, 1)).all()


@pytest.mark.parametrize(("offset", "scale"), CORNERS)
def test_gradients_far_from_the_origin_large_and_small(offset, scale):
    x, y = sets(offset, scale)
    difference, true = exact(x, y)
    slope = difference / true[..., None]
    for function in (
        distances.pairwise_euclidean,
        lambda x, y: distances.euclidean(x[:, None], y[None]),
    ):
        found = jax.grad(lambda x, y, f=function: f(x, y).sum(), (0, 1))(x, y)
        np.testing.assert_allclose(found[0], slope.sum(1), atol=2e-5)
        np.testing.assert_allclose(found[1], -slope.sum(0), atol=2e-5)
        forward = jax.jvp(lambda x, f=function: f(x, y), (x,), (np.ones_like(x),))[1]
        np.testing.assert_allclose(forward, slope.sum(-1), atol=2e-5)
    found = jax.grad(lambda x: distances.pairwise_squared_euclidean(x, y).sum())(x)
    np.testing.assert_allclose(found, 2 * difference.sum(1), rtol=1e-5, atol=2e-5 * scale)
    if offset == 0:
        tangent = np.ones_like(x) * np.float32(scale)
        along = jax.jvp(distances.l2_normalize, (x,), (tangent,))[1]
        wide = x.astype(np.longdouble) / scale
        norm = np.sqrt((wide**2).sum(-1, keepdims=True))
        true_along = 1 / norm - wide * wide.sum(-1, keepdims=True) / norm**3
        np.testing.assert_allclose(along, true_along, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exponent", [-100, -60, -20, 20, 60, 100])
def test_a_power_of_two_changes_no_bit(exponent):
    x, y = sets()
    scale = np.float32(2.0**exponent)
    np.testing.assert_array_equal(distances.l2_normalize(x * scale), distances.l2_normalize(x))
    for function in (distances.pairwise_euclidean, lambda x, y: distances.euclidean(x, y[:1])):
        np.testing.assert_array_equal(function(x * scale, y * scale), scale * function(x, y))


@pytest.mark.slow
def test_unit_length_at_the_ends_of_the_dtype():
    rows = np.array([[3e38, 3e38], [3, 4], [0, 0], [3e-39, -4e-39], [1e-45, 0]], np.float32)
    root = np.sqrt(0.5)
    expected = [[root, root], [0.6, 0.8], [0, 0], [0.6, -0.8], [1, 0]]
    for function in (distances.l2_normalize, jax.jit(distances.l2_normalize)):
        np.testing.assert_allclose(function(rows), expected, atol=1e-6)
    slope = jax.grad(lambda x: distances.l2_normalize(x)[:, 0].sum())(rows)
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(slope[2], [1, 0])
    np.testing.assert_allclose(slope[1], [0.128, -0.096], rtol=1e-6)
    # Half an ulp of the largest number: the squares of both are infinite.
    assert distances.euclidean(rows[:1], 0 * rows[:1])[0] == np.inf
    far = np.array([[2e38, 1e38]], np.float32)
    np.testing.assert_allclose(distances.euclidean(far, 0 * far), 5**0.5 * 1e38, rtol=1e-6)
    np.testing.assert_allclose(distances.pairwise_euclidean(far, -far / 2), 5**0.5 * 1.5e38, 1e-6)


@pytest.mark.slow
def test_nan_is_at_distance_nan_and_spoils_no_other():
    x, y = sets()
    x[2, 1], x[4, 0], y[3, 2] = np.nan, np.inf, -np.inf
    clean_rows, clean_columns = np.delete(np.arange(9), [2, 4]), np.delete(np.arange(7), 3)
    for function in PAIRWISE:
        for found in (function(x, y), jax.jit(function)(x, y)):
            found = np.asarray(found)
            assert np.isnan(found[[2, 4]]).all()
            assert np.isnan(found[:, 3]).all()
            kept = function(x[clean_rows], y[clean_columns])
            np.testing.assert_allclose(found[clean_rows][:, clean_columns], kept, rtol=1e-5)
    found = np.isnan(distances.euclidean(x, y[0]))
    np.testing.assert_array_equal(found, np.arange(9) == 2)
    np.testing.assert_array_equal(
        np.isnan(distances.squared_euclidean(x, x)), [0, 0, 1, 0, 1] + [0] * 4
    )
    rows = np.asarray(distances.l2_normalize(x))
    assert np.isnan(rows[[2, 4]]).all()
    assert np.isfinite(rows[clean_rows]).all()
    nothing = np.zeros((1, 8), np.float32)
    assert np.isnan(distances.pairwise_cosine(nothing, x)[0, 2])


def test_one_row_far_away_leaves_the_others_their_distances():
    x, y = sets()
    y[3] = 1e6
    _, true = exact(x, y)
    np.testing.assert_allclose(distances.pairwise_euclidean(x, y), true, rtol=3e-6)


def test_a_row_does_not_depend_on_the_others_of_its_batch():
    x, y = sets(1000.0)
    for function in PAIRWISE:
        np.testing.assert_array_equal(function(x[:4], y)[1], function(x[1:5], y)[0])


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x, y = (part.astype(dtype) for part in sets(scale=200.0))
    _, true = exact(x, y)
    for found, expected in (
        (distances.pairwise_squared_euclidean(x, y), true**2),
        (distances.squared_euclidean(x[:, None], y[None]), true**2),
        (distances.pairwise_euclidean(x, y), true),
        (distances.l2_normalize(x), unit(x)),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_float64_is_computed_in_float64():
    assert not jax.config.read("jax_enable_x64")
    x, y = sets(1e6, dtype=np.float64)
    _, true = exact(x, y)
    for found, expected in (
        (distances.pairwise_euclidean(x, y), true),
        (distances.pairwise_squared_euclidean(x, y), true**2),
        (distances.euclidean(x[:, None], y[None]), true),
        (distances.squared_euclidean(x[:, None], y[None]), true**2),
        (distances.l2_normalize(x), unit(x)),
        (distances.pairwise_cosine(x[:, :2], y[:, :2]), None),
    ):
        assert isinstance(found, jax.Array)
        assert found.dtype == np.float64
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert distances.pairwise_euclidean(x, y.astype(np.float32)).dtype == np.float64
    assert not jax.config.read("jax_enable_x64")
    huge = np.array([[1e300, 1e300]])
    np.testing.assert_allclose(distances.euclidean(huge, -huge), 2**1.5 * 1e300, rtol=1e-13)


def test_float64_constants_of_a_traced_function_are_computed_in_float64():
    x, y = sets(1e6, dtype=np.float64)
    _, true = exact(x, y)

    @jax.jit
    def shifted(shift):
        return distances.pairwise_euclidean(x, y).astype(jnp.float32) + shift

    np.testing.assert_allclose(shifted(np.float32(0)), true, rtol=1e-6)


@pytest.mark.slow
def test_transformations_agree_with_eager():
    x, y = sets(1000.0, rows=(8, 8))
    for function in (*PAIRWISE, distances.euclidean):
        eager = function(x, y)
        np.testing.assert_allclose(jax.jit(function)(x, y), eager, rtol=1e-5)
        stacked = jax.vmap(function)(x.reshape(4, 2, -1), y.reshape(4, 2, -1))
        spread = jax.pmap(function)(x.reshape(4, 2, -1), y.reshape(4, 2, -1))
        np.testing.assert_allclose(spread, stacked, rtol=1e-5)


def test_nothing_is_at_no_distance():
    none = np.zeros((0, 3), np.float32)
    for function in PAIRWISE:
        assert function(none, np.ones((2, 3), np.float32)).shape == (0, 2)
        assert function(np.ones((2, 3), np.float32), none).shape == (2, 0)
    assert distances.l2_normalize(none).shape == (0, 3)


def test_the_corners_for_the_table(kind):
    far = sets(3000.0)
    error = np.max(np.abs(np.asarray(distances.pairwise_euclidean(*far)) / exact(*far)[1] - 1))
    assert error < 1e-6
    kind("library: distances at offset 3,000, spread 1", "right within 1e-6 of their size")
    found = distances.pairwise_euclidean(
        np.full((1, 2), np.nan, np.float32), np.eye(2, dtype=np.float32)
    )
    assert np.isnan(found).all()
    kind("library: distances of NaN", "NaN (it was 0, the nearest of all)")
