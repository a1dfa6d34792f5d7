"""Contestants take turns, and ratios are taken within a round."""

import pytest

from jaxreid.benchmark import timing
from jaxreid.benchmark.timing import Timing, interleave, ratio


def test_contestants_take_turns_after_one_warm_up_each():
    calls = []
    times = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b"] * 4
    assert len(times["a"].runs) == 3


def test_who_fails_is_told_of_once_and_misses_later_turns():
    calls, failed = [], []

    def tires():
        calls.append("tires")
        if calls.count("tires") == 2:
            raise RuntimeError("no memory left")

    contestants = {"tires": tires, "b": lambda: calls.append("b")}
    times = interleave(contestants, repeats=2, on_failure=lambda *told: failed.append(told))
    assert calls == ["tires", "b", "tires", "b", "b"]
    assert [(name, str(error)) for name, error in failed] == [("tires", "no memory left")]
    assert {name: len(timing.runs) for name, timing in times.items()} == {"b": 2}
    calls.clear()
    with pytest.raises(RuntimeError, match="no memory left"):
        interleave(contestants, repeats=2)


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
        (
            "model name: AMD EPYC\ncpu family: 26\nmodel: 2\nstepping: 1\nflags: avx2 avx512f",
            "AMD EPYC (family 26, model 2, stepping 1, AVX-512)",
        ),
        (
            "model name: AMD EPYC\ncpu family: 25\nflags: sse2 avx avx2",
            "AMD EPYC (family 25, AVX2)",
        ),
        ("model name: AMD EPYC\nflags: sse2", "AMD EPYC"),
        (
            "BogoMIPS: 2100.00\nFeatures: fp asimd sve\nCPU implementer: 0x41\nCPU part: 0xd40",
            "aarch64 (implementer 0x41, part 0xd40, SVE)",
        ),
    ],
)
def test_processors_of_one_name_are_told_apart(tmp_path, monkeypatch, told, words):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    listed = tmp_path / "cpuinfo"
    told = told.replace(":", "\t:")
    listed.write_text("".join(f"processor\t: {n}\n{told}\nbogomips\t: 52\n\n" for n in range(2)))
    assert timing._processor(listed) == f"2 x {words}"


def test_a_system_that_lists_no_processors_has_some(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert timing._processor(tmp_path / "missing") == "8 x arm64"
