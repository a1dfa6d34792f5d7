"""Certificates where smoothed features are known exactly: that they hold, and how far."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import distances_of, pessimistic_ranks, positions, random_set

from jaxreid.ranking import (
    average_precision_sum,
    average_precision_trapezoid,
    certificates,
    certified_ranks,
    match_ranks,
    mean_error,
)
from jaxreid.types import Embedded

NORMAL = NormalDist()
PIXELS, DIMENSION = 12, 5


def smoothed_signs(pixels, planes, sigma):
    """E f(x + sigma e) of f(x) = sign(planes x) / sqrt(D), exactly: every plane is of length 1."""
    along = pixels @ planes.T / sigma
    share = np.vectorize(NORMAL.cdf)(along)
    return (2 * share - 1) / math.sqrt(len(planes))


def setting(seed, sigma):
    """Queries as pixels, planes, and a search whose gallery lies where queries do."""
    rng = np.random.default_rng(seed)
    planes = rng.normal(size=(DIMENSION, PIXELS))
    planes /= np.linalg.norm(planes, axis=1, keepdims=True)
    pixels = rng.normal(size=(6, PIXELS))
    query = random_set(rng, 6)._replace(features=smoothed_signs(pixels, planes, sigma))
    gallery = random_set(rng, 40)
    shown = rng.normal(size=(40, PIXELS))
    return (
        rng,
        pixels,
        planes,
        query,
        gallery._replace(features=smoothed_signs(shown, planes, sigma)),
    )


def reaches(query, gallery, row, sigma, error=0.0):
    """Of each match the shortest change by which each other passes it, by the formula."""
    matches, others = positions(query, gallery, row)
    g = np.asarray(query.features[row], float)
    found = []
    for p in matches:
        line = []
        for n in others:
            c_p, c_n = (np.asarray(gallery.features[i], float) for i in (p, n))
            apart = np.linalg.norm(c_n - c_p)
            a = (c_n - c_p) @ g / apart + error
            b = (c_n @ c_n - c_p @ c_p) / (2 * apart)
            ends = [NORMAL.inv_cdf(min(max((1 + x) / 2, 1e-300), 1 - 1e-16)) for x in (a, b)]
            line.append(sigma * (ends[1] - ends[0]) if a < 1 and b > -1 else -math.inf)
        found.append(line)
    return found


@pytest.mark.parametrize("items", [7, 4096])
@pytest.mark.parametrize("error", [0.0, 0.07])
def test_the_definition(monkeypatch, items, error):
    monkeypatch.setattr(certificates, "_ITEMS", items)
    sigma, radii = 0.5, (0.0, 0.1, 0.4)
    _, _, _, query, gallery = setting(3, sigma)
    seen = []
    found = certified_ranks(
        query,
        gallery,
        sigma=sigma,
        error=np.full(6, error),
        radii=radii,
        progress=lambda *work: seen.append(work),
    )
    assert seen[-1] == (40, 40)
    for row in range(6):
        lines = reaches(query, gallery, row, sigma, error)
        radius = max((min(line) for line in lines), default=-math.inf)
        assert found.radius[row] == pytest.approx(radius, abs=1e-9)
        for radius, ranks in zip(radii, found.ranks, strict=True):
            before = sorted(sum(reach <= radius for reach in line) for line in lines)
            expected = [place + count for place, count in enumerate(before, 1)]
            assert ranks.ranks[row][ranks.mask[row]].tolist() == expected
            assert ranks.mask[row].sum() == len(lines)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.5, 2.0]), st.floats(0, 3))
def test_no_change_gets_below_the_certificate(seed, sigma, radius):
    rng, pixels, planes, query, gallery = setting(seed, sigma)
    certain = certified_ranks(query, gallery, sigma=sigma, error=0.0, radii=[radius])
    bound = certain.ranks[0]
    for _ in range(5):
        # Along the planes is where features change.
        change = rng.normal(size=(6, DIMENSION)) @ planes
        change *= radius / np.linalg.norm(change, axis=1, keepdims=True)
        moved = smoothed_signs(pixels + change, planes, sigma)
        for row, lists in enumerate(
            distances_of(query._replace(features=moved), gallery, "euclidean")
        ):
            after = np.array([pessimistic_ranks(*lists)], int)
            worst = bound.ranks[[row]][:, bound.mask[row]]
            assert np.all(after <= worst)
            for precision in (average_precision_sum, average_precision_trapezoid):
                mask = np.ones(after.shape, bool)
                assert precision(after, mask) >= precision(worst, mask)
            if certain.radius[row] > radius:
                assert after[0, 0] == 1


@pytest.mark.parametrize(("match", "other"), [(0.6, -0.2), (0.9, 0.5), (-0.1, -0.8)])
def test_one_plane_is_certified_up_to_where_the_ranking_changes(match, other):
    sigma, plane = 0.25, np.full((1, PIXELS), PIXELS**-0.5)
    pixels = np.full((1, PIXELS), 0.2)
    gallery = Embedded(np.array([[match], [other]]), np.array([1, 2]), np.array([1, 1]))

    def searched(change):
        features = smoothed_signs(pixels - change * plane, plane, sigma)
        return Embedded(features, np.array([1]), np.array([0]))

    (radius,) = certified_ranks(searched(0), gallery, sigma=sigma, error=0.0, radii=[0]).radius
    assert radius > 0.1
    for factor, rank in ((0.999, 1), (1.001, 2)):
        after = match_ranks(searched(factor * radius), gallery, ties="pessimistic")
        assert after.ranks.tolist() == [[rank]]


def test_never_less_than_by_the_lipschitz_constant():
    """sqrt(2 / pi) / sigma bounds the slope of smoothed features: the weaker certificate."""
    sigma, some = 0.3, 0
    _, _, _, query, gallery = setting(1, sigma)
    for row in range(6):
        matches, others = positions(query, gallery, row)
        for p, n in itertools.product(matches, others):
            pair = Embedded(*(np.asarray(part)[[p, n]] for part in gallery))
            one = Embedded(*(np.asarray(part)[[row]] for part in query))
            (radius,) = certified_ranks(one, pair, sigma=sigma, error=0.02, radii=[0]).radius
            g, (c_p, c_n) = one.features[0], pair.features
            squares = np.sum((g - c_n) ** 2) - np.sum((g - c_p) ** 2)
            margin = squares / (2 * np.linalg.norm(c_n - c_p)) - 0.02
            if margin > 0:
                some += 1
                assert radius > margin * sigma * math.sqrt(math.pi / 2)
    assert some > 50


def test_what_is_equally_near_is_not_certain():
    features = np.array([[0.5, 0.0], [0.5, 0.0], [-0.9, 0.0]])
    gallery = Embedded(features, np.array([1, 2, 2]), np.ones(3, int))
    query = Embedded(np.array([[0.5, 0.0]]), np.array([1]), np.zeros(1, int))
    found = certified_ranks(query, gallery, sigma=0.5, error=0.0, radii=[0])
    assert found.radius.tolist() == [-math.inf]
    assert found.ranks[0].ranks.tolist() == [[2]]


def test_what_is_out_of_reach_and_what_was_never_there():
    """No unit vector is nearer to an item at 9 than to one at 0; nobody looks for person 5."""
    features = np.array([[0.0], [9.0]])
    gallery = Embedded(features, np.array([1, 2]), np.ones(2, int))
    query = Embedded(np.array([[1.0], [0.0]]), np.array([1, 5]), np.zeros(2, int))
    found = certified_ranks(query, gallery, sigma=0.5, error=0.0, radii=[100.0])
    assert found.radius.tolist() == [-math.inf, -math.inf]
    nearer = query._replace(features=np.array([[0.9], [0.0]]))
    found = certified_ranks(nearer, gallery, sigma=0.5, error=0.0, radii=[100.0])
    assert found.radius.tolist() == [math.inf, -math.inf]
    assert found.ranks[0].mask.tolist() == [[True], [False]]


@pytest.mark.parametrize("length", [0.0, 0.6, 1.0])
def test_means_are_as_near_as_they_say(length):
    """Unit vectors in a cone, m of them: with probability 0.1 at most a mean is further away."""
    rng, samples, failure, trials = np.random.default_rng(0), 25, 0.1, 400
    around = rng.normal(size=(trials, samples, 30))
    around *= math.sqrt(1 - length**2) / np.linalg.norm(around, axis=2, keepdims=True)
    means = np.concatenate([np.full((trials, 1), length), around.mean(axis=1)], axis=1)
    lengths = np.minimum(np.linalg.norm(means, axis=1), 1)
    error = mean_error(lengths, samples=samples, failure=failure)
    away = np.linalg.norm(means[:, 1:], axis=1)
    assert np.mean(away > error) <= failure
    assert np.all((error > 0) & (error <= 2))


def test_the_error_of_a_mean_is_the_largest_that_the_inequality_allows():
    lengths, m = np.array([0.0, 0.5, 0.9, 0.99, 1.0]), 1000
    x = math.log(2 / 1e-5)
    found = mean_error(lengths, samples=m, failure=1e-5)
    errors = np.linspace(0, 2, 200_001)
    for length, error in zip(lengths, found, strict=True):
        variance = 1 - np.maximum(length - errors, 0) ** 2
        bound = 2 * x / (3 * m) + np.sqrt((2 * x / (3 * m)) ** 2 + 2 * variance * x / m)
        largest = errors[errors <= bound].max()
        assert error == pytest.approx(largest, abs=2e-5)
        assert error >= largest
    # The bound without a variance, 1 + sqrt(2 ln(1 / a)) over sqrt(m), is looser throughout.
    assert np.all(found < (1 + math.sqrt(2 * math.log(1e5))) / math.sqrt(m))
    assert np.all(np.diff(found) < 0)


def test_one_sample_says_nothing():
    error = mean_error(np.array([0.0]), samples=1, failure=1e-6)
    assert error.tolist() == [2.0]
