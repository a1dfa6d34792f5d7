"""The example attacks with everything in the table and stays in the budget."""

import runpy
import sys
from pathlib import Path

import pytest

from jaxreid.attacks import ATTACKS

EXAMPLE = Path(__file__).parents[2] / "examples" / "attack_any_model.py"


@pytest.mark.slow
@pytest.mark.optimized
def test_it_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--identities", "6"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in printed.splitlines()]
    rows = {row[0]: [float(x) for x in row[1:]] for row in cells if len(row) == 4}
    assert set(rows) == {"clean", *ATTACKS}
    assert rows["clean"][0] == 0
    assert all(0 < change <= 5.0001 for name, (change, _, _) in rows.items() if name != "clean")
    assert rows["fna"][1] < rows["clean"][1]
