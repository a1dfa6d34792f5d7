"""Surrogates against their definitions in loops, finite differences, and the limits they have."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from searches import distances_of, pessimistic_ranks, positions, random_set

from jaxreid.errors import InputError
from jaxreid.ranking import (
    ListDistances,
    SearchLists,
    average_precision_sum,
    list_distances,
    log_intruders,
    margin,
    nearest_match,
    nearest_others,
    opposite_means,
    scaled_margin,
    search_lists,
    smooth_ap,
    soft_margin,
    temperature_of,
)

ROWS, ITEMS, WIDTH, T = 8, 60, 20, 0.1
COUNT = 7
DISTANCES = ["euclidean", "cosine"]


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def lse(values):
    largest = max(values)
    return largest + math.log(sum(math.exp(v - largest) for v in values))


def smoothed_precision(matches, others):
    terms = []
    for i, p in enumerate(matches):
        within = sum(sigmoid((p - x) / T) for j, x in enumerate(matches) if j != i)
        terms.append((1 + within) / (1 + within + sum(sigmoid((p - x) / T) for x in others)))
    return sum(terms) / len(terms)


def ratio(matches, others):
    items = sorted(matches + others)
    last = min(len(matches) + 2, len(items))
    return (min(matches) - min(others)) / (items[last - 1] - items[0])


def mean(values):
    return sum(values) / len(values)


# Name -> the function, and what it should be of the distances to matches and to others.
SURROGATES = {
    "margin": (margin, lambda p, n: min(p) - min(n)),
    "nearest match": (nearest_match, lambda p, n: min(p)),
    "scaled margin": (scaled_margin, ratio),
    "soft margin": (
        lambda d: soft_margin(d, temperature=T),
        lambda p, n: T * (lse([-x / T for x in n]) - lse([-x / T for x in p])),
    ),
    "nearest others": (
        lambda d: nearest_others(d, count=COUNT),
        lambda p, n: mean(p) - mean(sorted(n)[:COUNT]),
    ),
    "all others": (
        lambda d: nearest_others(d, count=10_000),
        lambda p, n: mean(p) - mean(n),
    ),
    "smooth ap": (
        lambda d: smooth_ap(d, temperature=T),
        lambda p, n: 1 - smoothed_precision(p, n),
    ),
    "log intruders": (
        lambda d: log_intruders(d, temperature=T),
        lambda p, n: mean([math.log(1 + sum(sigmoid((x - y) / T) for y in n)) for x in p]),
    ),
}


def random_search(seed=0):
    rng = np.random.default_rng(seed)
    query, gallery = random_set(rng, ROWS), random_set(rng, ITEMS)
    # Rows of nobody, and a row whose person is in no picture of another camera.
    identities = np.array([-1, 0, 9, 1, 2, 3, 4, 1])
    return query._replace(identities=identities), gallery


def lists_of(query, gallery):
    return jax.tree.map(jnp.asarray, search_lists(query, gallery, width=WIDTH))


@partial(jax.jit, static_argnums=2)
def measured(features, lists, distance="euclidean"):
    return list_distances(features, lists, distance=distance)


@cache
def compiled(name):
    """Values and gradients of a surrogate with respect to both arrays of distances, in float64."""

    def total(numbers, masks):
        values = SURROGATES[name][0](ListDistances(numbers[0], masks[0], numbers[1], masks[1]))
        return values.sum(), values

    program = jax.jit(jax.value_and_grad(total, has_aux=True))

    def run(matched, mask, other, others):
        with jax.enable_x64(True):
            (_, values), slopes = program((matched, other), (mask, others))
            return [np.asarray(x) for x in (values, *slopes)]

    return run


def drawn(seed=0):
    """Distances in float64 with padding in every place, and rows without matches or others."""
    rng = np.random.default_rng(seed)
    matched, other = rng.random((ROWS, WIDTH)) + 0.3, rng.random((ROWS, ITEMS)) + 0.5
    mask = np.arange(WIDTH) < np.array([[0], [5], [1], [2], [3], [5], [WIDTH], [4]])
    others = rng.random((ROWS, ITEMS)) < 0.7
    others[1], others[3] = False, np.arange(ITEMS) == 5
    return matched, mask, other, others


@pytest.mark.parametrize("name", SURROGATES)
def test_values_are_those_of_the_definition(name):
    for seed in range(3):
        matched, mask, other, others = drawn(seed)
        values, *_ = compiled(name)(matched, mask, other, others)
        assert (values[:2] == 0).all()
        for row in range(2, ROWS):
            lists = matched[row, mask[row]].tolist(), other[row, others[row]].tolist()
            assert values[row] == pytest.approx(SURROGATES[name][1](*lists), rel=1e-9)


@pytest.mark.parametrize("name", SURROGATES)
def test_gradients_are_those_of_finite_differences(name):
    rng = np.random.default_rng(1)
    matched, mask, other, others = drawn()
    _, *slopes = compiled(name)(matched, mask, other, others)
    ways, step = [rng.normal(size=x.shape) for x in (matched, other)], 1e-6
    ahead, behind = (
        compiled(name)(matched + h * ways[0], mask, other + h * ways[1], others)[0]
        for h in (step, -step)
    )
    ours = sum((slope * way).sum(axis=1) for slope, way in zip(slopes, ways, strict=True))
    differences = (ahead - behind) / (2 * step)
    assert (np.abs(differences[2:]) > 1e-3).all()
    np.testing.assert_allclose(ours, differences, rtol=1e-5, atol=1e-9)
    assert not slopes[0][~mask].any()
    assert not slopes[1][~others].any()
    assert not slopes[0][:2].any()
    assert not slopes[1][:2].any()


@pytest.mark.parametrize("name", SURROGATES)
def test_nothing_is_nan_where_all_distances_are_one(name):
    matched, mask, other, others = drawn()
    for value in (0.0, 1.0):
        found = compiled(name)(
            np.full_like(matched, value), mask, np.full_like(other, value), others
        )
        assert all(np.isfinite(x).all() for x in found)


@pytest.mark.parametrize("name", SURROGATES)
def test_what_is_masked_may_be_nan(name):
    matched, mask, other, others = drawn()
    spoiled = np.where(mask, matched, np.nan), mask, np.where(others, other, np.nan), others
    for ours, clean in zip(
        compiled(name)(*spoiled), compiled(name)(matched, mask, other, others), strict=True
    ):
        np.testing.assert_array_equal(ours, clean)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_cold_smooth_ap_is_one_less_the_average_precision(distance):
    query, gallery = random_search(5)
    distances = measured(query.features, lists_of(query, gallery), distance)
    found = distances_of(query, gallery, distance)
    ranks = [pessimistic_ranks(*lists) for lists in found]
    width = max(map(len, ranks))
    table = np.array([r + [0] * (width - len(r)) for r in ranks])
    expected = 1 - average_precision_sum(table, table > 0)
    expected[[not matches for matches, _ in found]] = 0
    cold = jax.jit(lambda d: smooth_ap(d, temperature=1e-7))(distances)
    np.testing.assert_allclose(cold, expected, atol=1e-6)


def test_a_cold_soft_margin_is_the_margin():
    query, gallery = random_search(6)
    distances = measured(query.features, lists_of(query, gallery))
    soft = jax.jit(lambda d, t: soft_margin(d, temperature=t))
    cold = soft(distances, np.full(ROWS, 1e-5, np.float32))
    np.testing.assert_allclose(cold, jax.jit(margin)(distances), atol=1e-5)
    # One temperature per row, and each row its own.
    mixed = soft(distances, np.geomspace(1e-5, 1, ROWS, dtype=np.float32))
    warm = soft(distances, np.ones(ROWS, np.float32))
    assert mixed[7] == warm[7]


@pytest.mark.parametrize("distance", DISTANCES)
def test_opposite_means_is_a_cosine(distance):
    query, gallery = random_search(7)
    compiled = jax.jit(partial(opposite_means, distance=distance))
    values = compiled(query.features, lists_of(query, gallery))
    rows = gallery.features.astype(np.float64)
    if distance == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for row, value in enumerate(values):
        matches, others = positions(query, gallery, row)
        expected = 0.0
        if matches and others:
            away = rows[matches].mean(axis=0) - rows[others].mean(axis=0)
            f = query.features[row].astype(np.float64)
            expected = -(f @ away) / np.linalg.norm(f) / np.linalg.norm(away)
        assert value == pytest.approx(expected, abs=1e-6)


def test_the_scaled_margin_knows_no_unit_and_no_offset():
    query, gallery = random_search(8)
    distances = measured(query.features, lists_of(query, gallery))
    moved = distances._replace(matched=8 * distances.matched + 4, other=8 * distances.other + 4)
    scaled = jax.jit(scaled_margin)
    np.testing.assert_allclose(scaled(moved), scaled(distances), rtol=1e-4, atol=1e-5)


def test_temperatures_follow_the_spread_of_a_row():
    query, gallery = random_search(9)
    distances = measured(query.features, lists_of(query, gallery))
    spread, near = temperature_of(distances), temperature_of(distances, quantile=0.25, factor=2.0)
    half = temperature_of(distances, factor=0.05)
    for row, (matches, others) in enumerate(distances_of(query, gallery, "euclidean")):
        assert spread[row] == pytest.approx(0.1 * np.std(others), rel=1e-4)
        assert half[row] == pytest.approx(0.05 * np.std(others), rel=1e-4)
        if matches:
            gaps = sorted(abs(x - mean(matches)) for x in others)
            assert near[row] == pytest.approx(2 * gaps[math.ceil(len(gaps) / 4) - 1], rel=1e-3)
    alike = distances._replace(other=jnp.ones_like(distances.other))
    assert (temperature_of(alike) == 1).all()
    slope = jax.grad(lambda d: temperature_of(distances._replace(other=d)).sum())(distances.other)
    assert (slope == 0).all()


@pytest.mark.parametrize("name", ["smooth ap", "log intruders"])
def test_memory_does_not_grow_with_the_number_of_matches(name):
    rows, items, width = 8, 4096, 64
    lists = SearchLists(
        jnp.zeros((items, 4)),
        jnp.zeros((rows, width), jnp.int32),
        jnp.ones((rows, width), bool),
        jnp.ones((rows, items), bool),
    )

    def value(x):
        return SURROGATES[name][0](list_distances(x, lists)).sum()

    program = jax.jit(jax.value_and_grad(value)).lower(jnp.ones((rows, 4))).compile()
    assert program.memory_analysis().temp_size_in_bytes < 10 * rows * items * 4


def test_what_is_wrong_is_named():
    query, gallery = random_search()
    distances = measured(query.features, lists_of(query, gallery))
    for call, words in (
        (lambda: soft_margin(distances, temperature=0), "temperature must be above 0"),
        (lambda: smooth_ap(distances, temperature=np.ones(3)), r"temperature .*\[B\] = \[8\]"),
        (lambda: log_intruders(distances, temperature="hot"), "temperature must"),
        (lambda: nearest_others(distances, count=0), "count"),
        (lambda: temperature_of(distances, factor=-1), "factor must be above 0"),
        (lambda: temperature_of(distances, quantile=2), "quantile must lie in"),
        (lambda: opposite_means(query.features[:2], lists_of(query, gallery)), "lists.matches"),
        (
            lambda: opposite_means(query.features, lists_of(query, gallery), distance="l1"),
            "distance",
        ),
    ):
        with pytest.raises(InputError, match=words):
            call()
