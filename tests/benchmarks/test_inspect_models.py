"""The record of what `jaxreid inspect` says of every family."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from family_files import FILES, drawn
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "inspect_models.py")))


def test_the_record_has_every_file_as_its_project_has_it():
    record = json.loads((ROOT / "docs" / "benchmarks" / "inspect.json").read_text())
    rows = {row[1]: dict(zip(record["columns"], row, strict=True)) for row in record["rows"]}
    assert list(rows) == list(FILES)
    for name, file in FILES.items():
        row = rows[name]
        assert row["architecture"] == f"`{file.architecture}`"
        assert (row["head"], row["classes"]) == (file.head, str(file.classes))
        assert row["size"] == ("x".join(map(str, file.size)) if file.size else "not said")
        assert row["told"] == (f"`{' '.join(file.options)}`" if file.options else "")
        # Beginnings of names are told as parts of the network.
        parts = {f"`{start.rstrip('.')}`" for start in file.unread}
        assert set(filter(None, row["left out"].split(", "))) == parts


def test_a_row_is_what_the_command_says(script, golden, tmp_path):
    file = FILES["osnet_x0_25"]
    tensors = drawn(golden, file)
    save_file(tensors, tmp_path / "x.safetensors")
    row = script.row_of("here", (), script.inspected(tmp_path / "x.safetensors", ()))
    learnt = sum(
        value.size
        for name, value in tensors.items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    expected = ["torchreid", "here", "", "`osnet_x0_25`", "embedding", "751", "256x128"]
    assert row == [*expected, f"{learnt / 1e6:.2f}", ""]


def test_a_file_that_is_refused_ends_it(script, golden, tmp_path):
    tensors = drawn(golden, FILES["osnet_x0_25"])
    tensors["conv2.0.gate.fc3.weight"] = np.zeros((1, 1), np.float32)
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(SystemExit, match=r"left over: conv2\.0\.gate\.fc3\.weight"):
        script.inspected(tmp_path / "x.safetensors", ())
