"""Contestants take turns."""

from jaxreid.benchmark import timing


def test_contestants_take_turns_after_one_call_each():
    calls = []
    times = timing.interleave(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2
    )
    assert calls == ["a", "b"] * 3
    assert {name: len(time.runs) for name, time in times.items()} == {"a": 2, "b": 2}


def test_ratio_is_the_median_over_rounds():
    slow = timing.Timing(first=9.0, runs=(2.0, 30.0, 6.0))
    fast = timing.Timing(first=1.0, runs=(1.0, 3.0, 2.0))
    assert slow.median == 6
    # Rounds give 2, 10 and 3: the round in which the machine was slow does not count.
    assert timing.ratio(slow, fast) == 3
