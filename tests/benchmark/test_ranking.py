"""The ranking benchmark compares things that agree."""

import numpy as np

from jaxreid.benchmark.ranking import argsort_ranks, benchmark_ranking
from jaxreid.ranking import match_ranks
from jaxreid.types import Embedded


def test_the_rival_computes_the_same_ranks():
    rng = np.random.default_rng(0)
    query, gallery = (
        Embedded(
            rng.normal(size=(size, 8)).astype(np.float32),
            rng.integers(-1, 5, size),
            rng.integers(0, 3, size),
        )
        for size in (20, 60)
    )
    ours, theirs = match_ranks(query, gallery), argsort_ranks(query, gallery)
    np.testing.assert_array_equal(ours.ranks, theirs.ranks)
    np.testing.assert_array_equal(ours.indices * ours.mask, theirs.indices)


def test_every_contestant_is_timed():
    result = benchmark_ranking("tiny", repeats=2)
    assert set(result.seconds) == {"product", "ranking", "argsort"}
    assert min(result.seconds.values()) > 0
    assert result.to_product > 0
    assert result.argsort_to_ranking > 0
    assert benchmark_ranking("tiny", repeats=1, argsort=False).argsort_to_ranking is None
