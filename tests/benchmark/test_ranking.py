"""The ranking benchmark: its contestants agree, and its report is complete."""

import numpy as np
import pytest

from jaxreid.benchmark.ranking import (
    SIZES,
    argsort_ranks,
    benchmark_guides,
    benchmark_ranking,
    random_sets,
)
from jaxreid.ranking import match_ranks


def test_contestants_find_the_same_ranks():
    query, gallery = random_sets(SIZES["tiny"], seed=3)
    ours, sort = match_ranks(query, gallery), argsort_ranks(query, gallery)
    assert ours.mask.sum() > 100
    np.testing.assert_array_equal(ours.mask, sort.mask)
    np.testing.assert_array_equal(ours.ranks, sort.ranks)
    np.testing.assert_array_equal(ours.indices, sort.indices)


def test_sizes_are_those_of_the_datasets():
    query, gallery = random_sets(SIZES["tiny"], seed=0)
    assert query.features.shape == (64, 64)
    assert gallery.features.shape == (500, 64)
    assert 0 in gallery.identities
    assert 0 not in query.identities
    assert SIZES["market1501"][:2] == (3_368, 15_913)
    assert SIZES["msmt17"][:2] == (11_659, 82_161)


def test_report_is_complete():
    result = benchmark_ranking("tiny", repeats=1)
    assert list(result.seconds) == list(result.first_seconds) == ["product", "ranking", "argsort"]
    assert min(result.seconds.values()) > 0
    assert result.to_product > 0
    assert result.extra_bytes >= 0
    alone = benchmark_ranking("tiny", repeats=1, argsort=False)
    assert "argsort" not in alone.seconds
    assert alone.argsort_to_ranking is None


@pytest.mark.slow
def test_every_selection_of_guides_is_timed():
    times = benchmark_guides("tiny", repeats=2)
    assert {"product", "centroids", "furthest other identity"} <= set(times)
    assert all(len(time.runs) == 2 and time.median > 0 for time in times.values())
