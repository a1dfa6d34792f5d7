"""The random numbers are the ones written down here, and are spread as promised."""

import math
import statistics

import numpy as np
import pytest

from jaxreid.data.synthetic.stream import Stream, wave


def test_numbers_written_down() -> None:
    stream = Stream(2020, 1)
    assert [stream.uniform() for _ in range(3)] == [
        0.16760847690147196,
        0.6939407737759143,
        0.8859618761541402,
    ]
    assert Stream(2020, 1).octets(6).tolist() == [90, 7, 55, 139, 150, 69]


def test_streams_of_different_names_differ() -> None:
    assert Stream(1, 2).uniform() != Stream(1, 3).uniform()
    assert Stream(1, 2).uniform() == Stream(1, 2).uniform()


def test_spread() -> None:
    stream = Stream(7)
    bells = [stream.bell(2.0) for _ in range(20000)]
    assert statistics.fmean(bells) == pytest.approx(0.0, abs=0.05)
    assert statistics.stdev(bells) == pytest.approx(2.0, abs=0.05)
    assert max(abs(b) for b in bells) <= 2.0 * 12**0.5
    counts = np.bincount([stream.index(5) for _ in range(20000)])
    assert len(counts) == 5
    assert np.all(abs(counts - 4000) < 300)


def test_shuffled_is_a_permutation() -> None:
    order = Stream(3).shuffled(50)
    assert sorted(order) == list(range(50))
    assert order != list(range(50))


def test_wave_is_nearly_a_sine() -> None:
    for i in range(-400, 400):
        turns = i / 173.0
        assert wave(turns) == pytest.approx(math.sin(2 * math.pi * turns), abs=0.002)
