"""What moves candidates, against its definitions in loops, and at the limits that it has."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import distances_of, random_set

from jaxreid.errors import InputError
from jaxreid.ranking import (
    ListDistances,
    candidates_lowered,
    candidates_raised,
    furthest_margin,
    guarded,
    list_distances,
    search_lists,
)

SIGNED = [(candidates_raised, 1), (candidates_lowered, -1)]


def random_distances(seed, rows, chosen, items):
    rng = np.random.default_rng(seed)
    return (
        rng.uniform(0, 2, (rows, chosen)).astype(np.float32),
        rng.uniform(0, 2, (rows, items)).astype(np.float32),
        rng.random((rows, items)) < 0.7,
    )


def in_loops(sign, chosen, items, rivals):
    """The published loss of one row."""
    lost = [
        max(0.0, sign * (float(c) - float(x)))
        for c in chosen
        for x, counts in zip(items, rivals, strict=True)
        if counts
    ]
    return sum(lost) / len(lost) if lost else 0.0


@pytest.mark.parametrize(("function", "sign"), SIGNED)
@given(seed=st.integers(0, 2**31), sizes=st.sampled_from([(1, 1, 1), (3, 2, 9)]))
def test_the_loss_is_that_of_the_paper_with_the_other_sign(function, sign, seed, sizes):
    given = random_distances(seed, *sizes)
    expected = [-in_loops(sign, *row) for row in zip(*given, strict=True)]
    np.testing.assert_allclose(function(*given), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("function", "sign"), SIGNED)
def test_the_greatest_value_is_a_ranking_as_it_is_wanted(function, sign):
    items = jnp.array([[0.5, 0.7, 0.9]])
    everybody = jnp.ones((1, 3), bool)
    ends = jnp.array([[0.4]]), jnp.array([[1.0]])
    first, last = (float(function(end, items, everybody)[0]) for end in ends)
    assert max(first, last) == 0
    assert (first > last) == (sign == 1)
    # What takes no part is neither passed nor in the way, and nobody is worth nothing.
    distant = items.at[0, 0].set(jnp.nan)
    assert float(function(jnp.array([[0.8]]), distant, ~everybody)[0]) == 0
    others = everybody.at[0, 0].set(False)
    assert math.isfinite(float(function(jnp.array([[0.8]]), distant, others)[0]))


@pytest.mark.parametrize(("function", "sign"), SIGNED)
def test_the_slope_pulls_a_candidate_and_pushes_who_is_in_its_way(function, sign):
    chosen, items, rivals = random_distances(3, 4, 2, 9)
    given = jnp.asarray(chosen), jnp.asarray(items)
    own, others = jax.grad(lambda c, x: function(c, x, rivals).sum(), argnums=(0, 1))(*given)
    ahead = sign * (chosen[:, :, None] - items[:, None, :]) > 0
    counted = ahead & rivals[:, None, :]
    pairs = rivals.sum(axis=1)[:, None] * chosen.shape[1]
    np.testing.assert_allclose(own, -sign * counted.sum(axis=2) / pairs, rtol=1e-5)
    np.testing.assert_allclose(others, sign * counted.sum(axis=1) / pairs, rtol=1e-5)


@pytest.mark.parametrize("function", [candidates_raised, candidates_lowered])
def test_rows_are_alone_compiled_or_not(function):
    given = random_distances(5, 6, 2, 8)
    whole = function(*given)
    np.testing.assert_allclose(jax.jit(function)(*given), whole, rtol=1e-6)

    def alone(*row):
        return function(*(part[None] for part in row))[0]

    np.testing.assert_allclose(jax.vmap(alone)(*map(jnp.asarray, given)), whole, rtol=1e-6)


def test_float64_stays_float64():
    chosen, items, rivals = random_distances(7, 2, 1, 5)
    doubled = candidates_raised(chosen.astype(np.float64), items.astype(np.float64), rivals)
    assert doubled.dtype == np.float64
    expected = [-in_loops(1, *row) for row in zip(chosen, items, rivals, strict=True)]
    np.testing.assert_allclose(doubled, expected, rtol=1e-12)


def test_a_guard_weighs_more_the_further_it_has_fallen():
    attack, guard = np.float32([-0.3, -0.3, -0.3, -0.3]), np.float32([0, -1e-4, -2e-4, -1])
    found = np.asarray(guarded(attack, guard, care=1e4), np.float64)
    expected = [-0.3, -0.3 - 1e-4 * math.e, -0.3 - 2e-4 * math.e**2, -0.3 - 1e9]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # The weight has no slope: it is that of the guard alone.
    slope = jax.grad(lambda g: guarded(attack, g, care=1e4).sum())(jnp.asarray(guard))
    np.testing.assert_allclose(slope, [1, math.e, math.e**2, 1e9], rtol=1e-4)
    assert guarded(attack, guard, care=0).tolist() == pytest.approx((attack + guard).tolist())


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_the_furthest_margin_is_that_of_the_lists(seed):
    rng = np.random.default_rng(seed)
    query, gallery = random_set(rng, 5), random_set(rng, 40)
    lists = search_lists(query, gallery, width=40)
    found = np.asarray(furthest_margin(list_distances(query.features, lists)))
    for value, (matches, others) in zip(
        found, distances_of(query, gallery, "euclidean"), strict=True
    ):
        expected = -max(0, max(others) - min(matches)) if matches and others else 0
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_furthest_margin_pulls_the_last_and_pushes_the_first():
    def value(matched, other):
        parts = ListDistances(matched, jnp.ones((1, 2), bool), other, jnp.ones((1, 3), bool))
        return furthest_margin(parts)[0]

    matched, other = jnp.array([[0.3, 0.6]]), jnp.array([[0.2, 0.9, 0.5]])
    slopes = jax.grad(value, argnums=(0, 1))(matched, other)
    assert slopes[0].tolist() == [[1, 0]]
    assert slopes[1].tolist() == [[0, -1, 0]]
    assert float(value(matched + 1, other)) == 0
    assert not np.any(jax.grad(value)(matched + 1, other))


CHOSEN, ITEMS, RIVALS = random_distances(0, 2, 1, 4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: candidates_raised(CHOSEN[:, 0], ITEMS, RIVALS), "chosen"),
        (lambda: candidates_raised(CHOSEN[:1], ITEMS, RIVALS), "items"),
        (lambda: candidates_lowered(CHOSEN, ITEMS[:, :3], RIVALS), "rivals"),
        (lambda: candidates_lowered(CHOSEN, ITEMS, RIVALS.astype(int)), "rivals must be boolean"),
        (lambda: candidates_lowered(CHOSEN.astype(int), ITEMS, RIVALS), "chosen must be floating"),
        (lambda: candidates_raised(CHOSEN, None, RIVALS), "items"),
        (lambda: guarded(CHOSEN[:, 0], ITEMS[:, :1]), "guard"),
        (lambda: guarded(CHOSEN[:, 0], CHOSEN[:, 0], care=-1), "care must be at least 0"),
        (lambda: guarded(CHOSEN[:, 0], CHOSEN[:, 0], care=float("nan")), "care"),
        (lambda: furthest_margin(None), "distances"),
    ],
)
def test_what_is_wrong_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()
