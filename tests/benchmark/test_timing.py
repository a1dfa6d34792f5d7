"""Contestants take turns, and ratios are taken within a round."""

import pytest

from jaxreid.benchmark.timing import Timing, interleave, ratio


def test_contestants_take_turns_after_one_warm_up_each():
    calls = []
    times = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b"] * 4
    assert len(times["a"].runs) == 3


def test_ratio_is_taken_round_by_round():
    # A slow round hits both contestants: the ratio of medians would say 1.
    slow, fast = Timing(0, (2.0, 20.0, 2.0)), Timing(0, (1.0, 10.0, 2.0))
    assert ratio(slow, fast) == 2
    assert slow.median == 2
    with pytest.raises(ValueError, match="argument"):
        ratio(slow, Timing(0, (1.0,)))
