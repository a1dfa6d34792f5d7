"""`jaxreid benchmark data` prints a line per contestant."""

import json

import pytest

from jaxreid.benchmark import data
from jaxreid.cli import main


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(data, "SIZE", (16, 8))
    monkeypatch.setattr(data, "_has_torch", lambda: False)
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "data", "--images", "64", "--repeats", "1", "--workers", "1"])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("64 JPEGs, resized to 256x128, batches of 64; 64 images per run")
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "PIL loop, one process",
        "jaxreid, threads",
        "jaxreid, 1 processes",
        "jaxreid, cache",
        "PyTorch DataLoader: left out, torch is not installed",
    ]
    assert lines[2].split()[-2] == "1.0"


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(data, "SIZE", (16, 8))
    monkeypatch.setattr(data, "_has_torch", lambda: False)
    words = ["--images", "64", "--repeats", "2", "--workers", "1", "--json"]
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "data", *words])
    assert end.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images"] == 64
    assert all(len(timing["runs"]) == 2 for timing in printed["timings"].values())


def test_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "data", "--images", "5", "--repeats", "1"])
    assert end.value.code == 2
    assert "need 64 images or more" in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["benchmark", "data", "--help"])
    assert "Example: jaxreid benchmark data" in capsys.readouterr().out
