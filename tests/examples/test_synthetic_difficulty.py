"""The example runs from drawing to attack, on the smallest dataset."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "synthetic_difficulty.py"


def test_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(EXAMPLE), "--config", "tiny", "--epochs", "2", "--attacks", "fna"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("176 images drawn in ")
    assert [line.split(":")[0] for line in lines[1:3]] == ["epoch 1", "epoch 2"]
    rows = [
        re.fullmatch(r"(\w+) +mAP +([\d.]+) %   \(torchreid's +([\d.]+) %\)", x) for x in lines[3:]
    ]
    assert [row[1] for row in rows] == ["clean", "FNA"]
    assert 0.0 <= float(rows[1][2]) < float(rows[0][2]) <= 100.0
