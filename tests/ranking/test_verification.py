"""Thresholds on distances: against counts of all pairs, one by one."""

from fractions import Fraction

import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.ranking import (
    equal_error_rate,
    impersonation_ranks,
    pair_distances,
    roc,
    search_pairs,
    threshold_at,
    true_accept_at,
)
from jaxreid.ranking.blocks import blocks
from jaxreid.types import Embedded

RATES = ("0.1", "0.01", "0.001")


def drawn(seed, same=40, different=500, levels=None):
    """Distances of two kinds of pairs; few levels make them tie."""
    rng = np.random.default_rng(seed)
    near, far = rng.normal(1, 0.4, same), rng.normal(2, 0.5, different)
    if levels:
        near, far = (np.round(values * levels) / levels for values in (near, far))
    return near.astype(np.float32), far.astype(np.float32)


def searched(seed=0, queries=23, items=60):
    """A search on a grid of features, so that distances tie and are exact in float32."""
    rng = np.random.default_rng(seed)

    def part(count, least):
        features = rng.integers(-2, 3, (count, 3)).astype(np.float32)
        return Embedded(features, rng.integers(least, 6, count), rng.integers(0, 3, count))

    return part(queries, -1), part(items, -1)


def pairs_one_by_one(query, gallery, sought=None):
    """Same and different distances by the protocol's words."""
    same, different = [], []
    for q, who, where in zip(*query, strict=True):
        for g, person, camera in zip(*gallery, strict=True):
            distance = np.sqrt(np.float32(np.square(q - g).sum()))
            if who > 0 and person == who and camera != where:
                same.append(distance)
            if who > 0 and person not in (-1, who):
                different.append(distance)
    return np.array(same, np.float32), np.array(different, np.float32)


def best_true_accept(near, far, rate):
    """The most same pairs that any threshold lets pass while it keeps the rate."""
    most = 0
    for threshold in [*near, *far, np.inf]:
        if Fraction(int((far < threshold).sum()), len(far)) <= Fraction(rate):
            most = max(most, int((near < threshold).sum()))
    return most / len(near)


@pytest.mark.parametrize("levels", [None, 8, 2])
def test_rates_are_counts(levels):
    near, far = drawn(1, levels=levels)
    pairs = pair_distances(near, far, rates=RATES)
    for rate in ("0.1", "0.01"):
        threshold = threshold_at(pairs, rate)
        passing = int((far < threshold).sum())
        assert passing <= int(Fraction(rate) * len(far))
        # Any larger threshold lets too many pass.
        assert (far <= threshold).sum() > Fraction(rate) * len(far)
        assert true_accept_at(pairs, rate) == best_true_accept(near, far, rate)


def test_too_few_pairs_for_a_rate_give_no_number():
    near, far = drawn(2, different=999)
    assert threshold_at(pair_distances(near, far), "0.001") is None
    assert true_accept_at(pair_distances(near, far), "0.001") is None
    far = np.append(far, np.float32(9))
    assert threshold_at(pair_distances(near, far), "0.001") == np.sort(far)[1]


def test_a_rate_is_what_its_digits_say():
    # In binary 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996.
    pairs = pair_distances(np.ones(1), np.arange(100.0), rates=["0.29"])
    assert threshold_at(pairs, "0.29") == 29
    with pytest.raises(InputError, match="larger than those"):
        threshold_at(pairs, "0.3")
    for rate in ("0", "1", "often"):
        with pytest.raises(InputError, match="between 0 and 1"):
            threshold_at(pairs, rate)


@pytest.mark.parametrize("levels", [None, 8, 2])
def test_the_curve_has_every_threshold_on_it(levels):
    near, far = drawn(3, levels=levels)
    curve = roc(pair_distances(near, far))
    assert curve.false_accept[[0, -1]].tolist() == curve.true_accept[[0, -1]].tolist() == [0, 1]
    for accept_far, accept_near, threshold in zip(*curve, strict=True):
        assert accept_far == (far < threshold).mean()
        assert accept_near == (near < threshold).mean()
    # And whatever another threshold gives lies on a line between two corners.
    for threshold in np.linspace(0, 4, 50).astype(np.float32):
        x, y = (far < threshold).mean(), (near < threshold).mean()
        at = np.flatnonzero(curve.false_accept == x)
        flat = np.any(curve.true_accept[at] == y)
        level = np.flatnonzero(curve.true_accept == y)
        between = len(level) and curve.false_accept[level].min() <= x
        assert flat or (between and x <= curve.false_accept[level].max())


def test_a_thinned_curve_keeps_true_corners():
    near, far = drawn(4, same=3000, different=20_000)
    pairs = pair_distances(near, far)
    whole, thin = roc(pairs), roc(pairs, most=100)
    assert 50 < len(thin.threshold) <= 100
    corners = set(zip(*whole, strict=True))
    assert set(zip(*thin, strict=True)) <= corners
    assert (thin.threshold[0], thin.threshold[-1]) == (-np.inf, np.inf)
    with pytest.raises(InputError, match="at least 4"):
        roc(pairs, most=3)


def test_equal_error_by_hand():
    # At a threshold of 3.5 one of four is refused, and one of four passes.
    near, far = np.array([1, 2, 3, 5.0]), np.array([3.2, 6, 7, 8.0])
    assert equal_error_rate(pair_distances(near, far)) == 0.25
    assert equal_error_rate(pair_distances(near, far + 10)) == 0
    assert equal_error_rate(pair_distances(near + 10, far)) == 1
    # All alike: whatever is decided, as many are refused as pass.
    assert equal_error_rate(pair_distances(np.ones(3), np.ones(7))) == 0.5
    # 1/3 is refused up to FAR 1/4 and none from 1/2 on, both along a tie at 3: on the line from
    # (1/4, 2/3) to (1/2, 1) FAR = 1 - TAR at 2/7.
    near, far = np.array([1, 2, 3.0]), np.array([0, 3, 4, 5.0])
    assert equal_error_rate(pair_distances(near, far)) == pytest.approx(2 / 7)


@pytest.mark.parametrize("seed", range(3))
def test_equal_error_lies_between_the_rates_of_two_neighbouring_thresholds(seed):
    near, far = drawn(seed)
    error = equal_error_rate(pair_distances(near, far))
    both = [((far < t).mean(), (near >= t).mean()) for t in np.sort(np.concatenate([near, far]))]
    assert min(max(pair) for pair in both) >= error >= max(min(pair) for pair in both)


@pytest.mark.parametrize("cells", [1, 200, 1 << 20])
def test_pairs_of_a_search(cells, monkeypatch):
    query, gallery = searched()
    monkeypatch.setattr("jaxreid.ranking.blocks._CELLS", cells)
    monkeypatch.setattr(blocks, "__kwdefaults__", {"cells": cells})
    limits = [1.0, 2.5]
    found = search_pairs(query, gallery, rates=RATES, limits=limits)
    same, different = pairs_one_by_one(query, gallery)
    np.testing.assert_allclose(found.same, np.sort(same), atol=1e-6)
    expected = pair_distances(same, different, rates=RATES)
    assert found.different == len(different)
    np.testing.assert_array_equal(found.below, expected.below)
    np.testing.assert_array_equal(found.up_to, expected.up_to)
    np.testing.assert_allclose(found.nearest, expected.nearest, atol=1e-6)
    assert found.passed.tolist() == [(different < limit).sum() for limit in limits]


def test_pairs_with_the_person_that_is_sought():
    query, gallery = searched()
    sought = np.where(query.identities > 0, 1 + query.identities % 5, 0)
    found = search_pairs(query, gallery, sought=sought, rates=["0.5"])
    different = [
        np.linalg.norm(q - g)
        for q, goal in zip(query.features, sought, strict=True)
        for g, person in zip(gallery.features, gallery.identities, strict=True)
        if goal > 0 and person == goal
    ]
    assert found.different == len(different)
    kept = len(different) // 2 + 1
    np.testing.assert_allclose(found.nearest, np.sort(different)[:kept], atol=1e-6)
    with pytest.raises(InputError, match="impersonate itself"):
        search_pairs(query, gallery, sought=np.maximum(query.identities, 0))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_ranks_of_the_sought_person(distance):
    query, gallery = searched(5)
    # Off the grid: cosine distances that should tie differ by rounding.
    noise = np.random.default_rng(0).normal(0, 0.01, gallery.features.shape).astype(np.float32)
    gallery = gallery._replace(features=gallery.features + noise)
    query = query._replace(features=query.features + np.float32(0.1))
    sought = np.where(query.identities > 0, 1 + query.identities % 5, 0)
    sought[3] = 77
    found = impersonation_ranks(query, gallery, sought, distance=distance)
    for row, (q, who, where) in enumerate(zip(*query, strict=True)):
        rest, goal = [], []
        for g, person, camera in zip(*gallery, strict=True):
            apart = 1 - q @ g / np.linalg.norm(q) / np.linalg.norm(g)
            apart = apart if distance == "cosine" else np.linalg.norm(q - g)
            if person == sought[row] > 0:
                goal.append(apart)
            elif person != -1 and not (person == who and camera == where):
                rest.append(apart)
        expected = [j + sum(d < far for d in rest) for j, far in enumerate(sorted(goal), 1)]
        assert found.ranks[row][found.mask[row]].tolist() == expected
        at = found.indices[row][found.mask[row]]
        assert set(gallery.identities[at]) <= {sought[row]}
    assert not found.mask[3].any()


def test_ties_are_the_impersonators():
    same = np.zeros((4, 2), np.float32)
    gallery = Embedded(same, np.array([1, 2, 0, 3]), np.zeros(4, int))
    query = Embedded(same[:1], np.array([1]), np.ones(1, int))
    assert impersonation_ranks(query, gallery, np.array([3])).ranks.tolist() == [[1]]


def test_what_cannot_be_counted():
    query, gallery = searched()
    with pytest.raises(InputError, match="0 pairs of the same person"):
        search_pairs(query._replace(identities=np.full(23, 99)), gallery)
    features = np.array(query.features)
    features[2] = np.nan
    with pytest.raises(InputError, match=r"query\.features must be finite"):
        search_pairs(query._replace(features=features), gallery)
    with pytest.raises(InputError, match="NaN"):
        pair_distances(np.array([np.nan]), np.ones(3))
