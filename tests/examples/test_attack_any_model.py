"""The example that `make quickstart` runs."""

import runpy
import sys
from pathlib import Path

from jaxreid.attacks import ATTACKS

EXAMPLE = Path(__file__).parents[2] / "examples" / "attack_any_model.py"


def test_prints_budget_and_ranking_of_every_attack(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--identities", "8"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    cells = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    rows = {name.strip(): [float(x) for x in numbers] for name, *numbers in cells}
    assert list(rows) == ["clean", *ATTACKS]
    assert rows["clean"][0] == 0
    for name in ATTACKS:
        change, precision, _ = rows[name]
        assert 0 < change <= 5.0001
        assert 0 <= precision <= 100
    assert rows["fna"][1] < rows["noise"][1]
