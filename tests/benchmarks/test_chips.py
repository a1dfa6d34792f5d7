"""The table of programs on slices of TPUs is what was counted, in its units."""

import errno
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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


def test_what_is_in_the_record_is_not_counted_again(chips, monkeypatch, tmp_path):
    asked = []

    def run(command, **_):
        program = command[command.index("--program") + 1]
        asked.append((program, command[command.index("--target") + 1], "--devices" in command))
        return SimpleNamespace(stdout=json.dumps({"programs": {program: FOUND}}))

    record = tmp_path / "chips-v6e.json"
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["chips.py", str(record), "v6e"])
    chips.main()
    targets = ["tpu:v6e:2x2", "tpu:v6e:2x2", "tpu:v6e:8x8", "tpu:v6e:16x16"]
    assert asked[::3] == [("attack", target, place == 0) for place, target in enumerate(targets)]
    first = json.loads(record.read_text(encoding="utf-8"))
    assert [row[1] for row in first["rows"][:4]] == ["1", "4", "64", "256"]
    assert len(asked) == len(first["rows"]) == 12
    first["rows"] = first["rows"][:-1]
    record.write_text(json.dumps(first), encoding="utf-8")
    chips.main()
    assert len(asked) == 13


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
