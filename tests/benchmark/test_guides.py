"""The guide benchmark times every selection."""

from jaxreid.benchmark.guides import benchmark_guides


def test_every_selection_is_timed():
    times = benchmark_guides("tiny", repeats=2)
    assert {"product", "centroids", "furthest other identity"} <= set(times)
    assert all(len(time.runs) == 2 and time.median > 0 for time in times.values())
