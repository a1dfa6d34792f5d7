"""The ranking benchmark: its contestants agree, and its report is complete."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxreid.benchmark import ranking
from jaxreid.benchmark.ranking import (
    GUIDES_SIZES,
    SIZES,
    PeakMemory,
    argsort_ranks,
    bare_product,
    benchmark_guides,
    benchmark_ranking,
    peak_memory,
    random_sets,
)
from jaxreid.benchmark.targets.programs import PROGRAMS, Network
from jaxreid.guides import furthest_other
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
    # Guides of queries are queries; MSMT17 has 3,060 people to test on.
    assert GUIDES_SIZES["market1501"] == (3_368, 750, 2048)
    assert GUIDES_SIZES["msmt17"] == (11_659, 3_060, 2048)


def precisions_of(lowered):
    """What a lowered program says of each of its matrix products."""
    text = lowered.as_text("hlo")
    products = [line for line in text.splitlines() if " dot(" in line]
    assert products
    return {"operand_precision={highest,highest}" in line for line in products}


def test_the_bare_product_is_as_precise_as_ranking_and_guides():
    network = Network("resnet_patch", (64, 32), 2, "float32", "sma", "gpu")
    block = PROGRAMS["ranking"](network, 1)
    q, g = np.zeros((4, 8), np.float32), np.zeros((6, 8), np.float32)
    names = np.arange(1, 7)
    chosen = jax.jit(lambda q, g: furthest_other(q, names[:4], g, names).indices).lower(q, g)
    ours = {*precisions_of(jax.jit(block.function).lower(*block.arguments))} | precisions_of(chosen)
    assert precisions_of(bare_product.lower(q, g)) == ours == {True}


def test_the_bare_product_is_that_of_the_rows():
    x, y = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), np.array([[5.0, 6.0]], np.float32)
    np.testing.assert_array_equal(bare_product(x, y), [[17], [39]])


def test_contestants_begin_in_the_memory_of_the_host(monkeypatch):
    given = []
    monkeypatch.setattr(ranking, "bare_product", lambda *rows: given.extend(rows))
    monkeypatch.setattr(ranking, "match_ranks", lambda *sets: given.extend(sets))
    benchmark_ranking("tiny", repeats=1, argsort=False)
    arrays = [getattr(each, "features", each) for each in given]
    assert len(arrays) == 2 * (1 + 2 + 2)  # alone, then a first call and one round of both
    assert all(type(array) is np.ndarray for array in arrays)


def test_a_device_that_counts_its_memory_is_asked(monkeypatch):
    counted = iter([(100, 7), (100, 7_000)])

    def devices():
        return [
            SimpleNamespace(memory_stats=lambda peak=peak: {"peak_bytes_in_use": peak})
            for peak in next(counted)
        ]

    monkeypatch.setattr(ranking, "match_ranks", lambda *sets: None)
    monkeypatch.setattr(ranking.jax, "local_devices", devices)
    found = benchmark_ranking("tiny", repeats=1, argsort=False)
    assert (found.extra_bytes, found.memory_of) == (6_900, "device")


@pytest.mark.parametrize("statistics", [None, {}, {"bytes_in_use": 5}])
def test_a_device_that_does_not_leaves_the_process(monkeypatch, statistics):
    used = SimpleNamespace(ru_maxrss=3)
    monkeypatch.setattr(ranking.resource, "getrusage", lambda _: used)
    counts = SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 9})
    silent = SimpleNamespace(memory_stats=lambda: statistics)
    assert peak_memory([counts]) == PeakMemory(9, "device")
    assert peak_memory([counts, silent]) == PeakMemory(3 * 1024, "process")


def test_report_is_complete():
    result = benchmark_ranking("tiny", repeats=1)
    assert list(result.seconds) == list(result.first_seconds) == ["product", "ranking", "argsort"]
    assert min(result.seconds.values()) > 0
    assert result.to_product > 0
    assert result.extra_bytes >= 0
    assert result.memory_of == ("process" if jax.default_backend() == "cpu" else "device")
    alone = benchmark_ranking("tiny", repeats=1, argsort=False)
    assert "argsort" not in alone.seconds
    assert alone.argsort_to_ranking is None


@pytest.mark.slow
def test_every_selection_of_guides_is_timed():
    times = benchmark_guides("tiny", repeats=2)
    assert {"product", "centroids", "furthest other identity"} <= set(times)
    assert all(len(time.runs) == 2 and time.median > 0 for time in times.values())
