"""Seconds of work are those without compilation, whose spans may lie within each other."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.evaluation.timing import covered, stopwatch


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0),
        ([(2, 3)], 1),
        ([(2, 5), (3, 4)], 3),
        ([(2, 4), (3, 6), (8, 9)], 5),
        ([(-5, 1), (9, 20)], 2),
        ([(-5, -1), (20, 30)], 0),
        ([(-1, 50), (2, 3)], 10),
    ],
)
def test_overlaps_count_once(spans, length):
    assert covered(spans, 0, 10) == length


@given(st.lists(st.tuples(st.integers(-5, 25), st.integers(0, 12)), max_size=8))
def test_as_many_as_whole_units_are_covered(drawn):
    spans = [(start, start + length) for start, length in drawn]
    units = {unit for start, end in spans for unit in range(start, end)}
    assert covered(spans, 0, 20) == len(units & set(range(20)))


def test_compilation_is_seen_where_it_happens_and_nowhere_else():
    inner = jax.jit(lambda x: jnp.sin(x) + 1.5)
    function = jax.jit(lambda x: inner(x) * 2.25)
    x = jax.device_put(jnp.zeros(3))
    with stopwatch() as first:
        function(x).block_until_ready()
        seconds, compilation = first.read()
    assert compilation > 0
    assert seconds >= 0
    with stopwatch() as second:
        function(x).block_until_ready()
        assert second.read()[1] == 0
    # Nobody listens any more.
    jax.jit(lambda x: x - 7.5)(x)
    assert second.spans == []
