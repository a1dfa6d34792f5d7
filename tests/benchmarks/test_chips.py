"""The table of programs on slices of TPUs is what was counted, in its units."""

import errno
import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest

from jaxreid.benchmark.targets.programs import PROGRAMS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chips.py"
FOUND = {
    "images": 4,
    "flops": 40e9,
    "fits": False,
    "cost": {
        "bytes": 400e6,
        "memory_bytes": 80_000_000,
        "temporaries": 15 * 10**9,
        "arguments": 2 * 10**9,
        "collectives": {"all-reduce": [52, 102_000_000], "all-gather": [1, 500_000]},
    },
    "floors": {"arithmetic": 1e-3, "memory": 2.5e-3, "between": 1e-5},
}
CELLS = ["4", "10.0", "100", "20", "1.00", "2.50", "0.01", "17.0: too much"]
CROSSES = "52 all-reduce, 102.0 MB; 1 all-gather, 0.5 MB"


@pytest.fixture
def chips(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("chips", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_says_what_was_counted(chips):
    row = chips.row("goat", 256, FOUND)
    assert row == ["goat", "256", *CELLS, CROSSES]
    assert len(row) == len(chips.COLUMNS)
    alone = {**FOUND, "fits": True, "cost": {**FOUND["cost"], "collectives": {}}}
    assert chips.row("attack", 1, alone)[-2:] == ["17.0", "nothing"]
    # Of a query of a ranking there is little, which is not nothing.
    few = {**alone, "flops": 16e6, "images": 4000}
    assert chips.row("ranking", 1, few)[2:6] == ["4,000", "4e-06", "0.1", "0.02"]


def test_what_is_in_the_record_is_not_counted_again(chips, monkeypatch, tmp_path):
    asked = []

    def printed(command):
        program = command[command.index("--program") + 1]
        asked.append((program, command[command.index("--target") + 1], "--devices" in command))
        return json.dumps({"programs": {program: FOUND}})

    record = tmp_path / "chips-v6e.json"
    monkeypatch.setattr(chips, "printed", printed)
    monkeypatch.setattr(sys, "argv", ["chips.py", str(record), "v6e"])
    chips.main()
    targets = ["tpu:v6e:2x2", "tpu:v6e:2x2", "tpu:v6e:8x8", "tpu:v6e:16x16"]
    # Every program that the command counts, in its order, on few chips first.
    assert asked == [
        (program, target, place == 0)
        for place, target in enumerate(targets)
        for program in PROGRAMS
    ]
    first = json.loads(record.read_text(encoding="utf-8"))
    chips_of = ["1", "4", "64", "256"]
    assert [tuple(row[:2]) for row in first["rows"]] == [*itertools.product(PROGRAMS, chips_of)]

    # What an older record has stays as it is, and only what it lacks is counted.
    old = [[*row[:2], "as before"] for row in first["rows"] if row[0] in ("attack", "goat")]
    record.write_text(json.dumps({**first, "rows": old}), encoding="utf-8")
    asked.clear()
    chips.main()
    assert {program for program, *_ in asked} == set(PROGRAMS) - {"attack", "goat"}
    assert len(asked) == 4 * (len(PROGRAMS) - 2)
    rows = json.loads(record.read_text(encoding="utf-8"))["rows"]
    assert [row[:2] for row in rows] == [row[:2] for row in first["rows"]]
    assert [row for row in rows if row[0] in ("attack", "goat")] == old


def test_rows_of_other_compilers_are_not_mixed_with_these(chips, monkeypatch, tmp_path):
    record = tmp_path / "chips-v6e.json"
    old = {"versions": {"jax": "0.9.2", "jaxlib": "0.9.2"}, "rows": [["attack", "1"]]}
    record.write_text(json.dumps(old), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["chips.py", str(record), "v6e"])
    with pytest.raises(SystemExit, match=r"counted with jax 0\.9\.2, jaxlib 0\.9\.2, and here"):
        chips.main()
    assert json.loads(record.read_text(encoding="utf-8")) == old


def test_a_record_takes_its_place_whole(chips, monkeypatch, tmp_path):
    import record

    path = tmp_path / "a.json"
    path.write_text("[1]", encoding="utf-8")

    def full(file, text, **_):
        file.write_bytes(text.encode()[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        record.write_json(path, [1, 2])
    assert path.read_text(encoding="utf-8") == "[1]"
    assert list(tmp_path.iterdir()) == [path]
