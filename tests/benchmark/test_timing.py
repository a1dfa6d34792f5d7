"""Contestants take turns, and ratios are taken within a round."""

import pytest

from jaxreid.benchmark import timing
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


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("cpu family\t: 26\nmodel\t\t: 2\nflags\t: avx2 avx512f", " (family 26, model 2, AVX-512)"),
        ("cpu family\t: 25\nflags\t: sse2 avx avx2", " (family 25, AVX2)"),
        ("flags\t: sse2", ""),
    ],
)
def test_processors_of_one_name_are_told_apart(tmp_path, told, words):
    one = f"processor\t: 0\nmodel name\t: AMD EPYC\n{told}\nbogomips\t: 5192.19\n\n"
    listed = tmp_path / "cpuinfo"
    listed.write_text(2 * one)
    assert timing._processor(listed) == f"2 x AMD EPYC{words}"


def test_a_processor_without_a_model_has_its_architecture(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert timing._processor(listed) == "aarch64"
    assert timing._processor(tmp_path / "missing") == "arm"
