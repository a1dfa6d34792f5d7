"""Metrics from ranks, by hand and by their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.ranking import (
    average_precision_sum,
    average_precision_trapezoid,
    cumulative_matching,
    inverse_negative_penalty,
)

PER_QUERY = (average_precision_sum, average_precision_trapezoid, inverse_negative_penalty)


def one(ranks, padding=0):
    padded = np.array([list(ranks) + [0] * padding])
    return padded, padded > 0


def test_by_hand():
    ranks, mask = one([1, 3, 6], padding=2)
    assert average_precision_sum(ranks, mask)[0] == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    trapezoid = ((1 + 1) + (1 / 2 + 2 / 3) + (2 / 5 + 3 / 6)) / 2 / 3
    assert average_precision_trapezoid(ranks, mask)[0] == pytest.approx(trapezoid)
    assert inverse_negative_penalty(ranks, mask)[0] == pytest.approx(3 / 6)


def test_a_single_match_counts_half_in_the_trapezoid_unless_it_is_first():
    assert average_precision_trapezoid(*one([4]))[0] == average_precision_sum(*one([4]))[0] / 2
    assert average_precision_trapezoid(*one([1]))[0] == average_precision_sum(*one([1]))[0] == 1


@given(st.sets(st.integers(1, 200), min_size=1, max_size=20))
def test_ranges_padding_and_perfection(ranks):
    ranks = sorted(ranks)
    for metric in PER_QUERY:
        value = metric(*one(ranks))[0]
        assert 0 < value <= 1
        assert (value == pytest.approx(1)) == (ranks == list(range(1, len(ranks) + 1)))
        assert metric(*one(ranks, padding=3))[0] == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("metric", PER_QUERY)
def test_a_query_without_a_match_has_zero(metric):
    assert metric(np.zeros((1, 2), int), np.zeros((1, 2), bool))[0] == 0


def test_cumulative_matching_by_hand():
    curve = cumulative_matching(np.array([1, 3, 0, 3, 9]), max_rank=5, queries=5)
    np.testing.assert_allclose(curve, [0.2, 0.2, 0.6, 0.6, 0.6])
