"""The table of the worst case: which commands measure it, and how seeds become one cell."""

import argparse
import json
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(FOLDER), *sys.path])
        yield SimpleNamespace(**runpy.run_path(str(FOLDER / "worst_case.py")))


def given(**changes):
    usual = {"dataset": "shop", "data_dir": None, "limit": None, "known": False}
    return argparse.Namespace(**(usual | changes))


def test_a_row_is_a_command(script):
    row = script.Row("FNA, 100 steps", "guides", "--attacks fna --steps 100", 2.5)
    assert shlex.join(script.command_of(row, "a.safetensors", 1, given(limit=7))) == (
        "jaxreid evaluate a.safetensors --dataset shop --attacks fna --steps 100 --eps 2.5 "
        "--limit 7 --seeds 1,"
    )
    row = script.Row("margin", "gallery", "--objective margin", 5.0, script="objectives.py")
    assert shlex.join(script.command_of(row, "a.safetensors", 0, given(data_dir="d"))) == (
        "python benchmarks/objectives.py a.safetensors --dataset shop --objective margin "
        "--eps 5 --data-dir d --seed 0"
    )


def line(network, mean, rank1, passes, **fields):
    usual = {
        "title": "worst case",
        "knowledge": "gallery",
        "options": "--attacks worst",
        "script": "",
        "eps": 5.0,
    }
    found = {"mean_average_precision": mean, "rank1": rank1, "passes": passes}
    return usual | found | {"network": network} | fields


def test_seeds_are_one_cell(script):
    rows = [line("a", 0.08, 0.02, 100), line("a", 0.10, 0.02, 300), line("b", 0.5, 0.25, 120)]
    columns, cells = script.table(rows)
    assert columns == [
        "",
        "knows",
        "passes per query",
        "a: mAP / rank-1",
        "b: mAP / rank-1",
        "command",
    ]
    assert cells == [
        [
            "worst case",
            "gallery",
            "120 to 200",
            "9.0 ± 1.0 / 2.0",
            "50.0 / 25.0",
            "`--attacks worst`",
        ]
    ]


def test_budgets_are_lines_of_their_own(script):
    rows = [line("a", 0.5, 0.5, 1), line("a", 0.25, 0.25, 1, eps=2.0, script="doubled.py")]
    columns, cells = script.table(rows)
    assert columns[:2] == ["", "eps"]
    assert [row[1] for row in cells] == ["5", "2"]
    assert cells[1][-1] == "`doubled.py --attacks worst`"


def test_what_is_known_is_not_measured_again(script, tmp_path):
    asked = given(
        work=tmp_path / "work", parts=["ensemble"], eps=[5.0], seeds=[0, 1], network=["a=x.pt"]
    )
    number = {"mean_average_precision": 0.5, "rank1": 0.5, "passes": 7, "seconds": 1.0}

    def measure(words, folder, *, clean):
        ran.append(words)
        return number

    ran: list[list[str]] = []
    script.measured.__globals__["run"] = measure
    assert list(script.measured(argparse.Namespace(**(vars(asked) | {"known": True})))) == []
    first = list(script.measured(asked))
    assert len(ran) == len(first) == 4
    assert len({row["command"] for row in first}) == 4
    assert list(script.measured(asked)) == first
    assert len(ran) == 4
    assert {path.suffix for path in asked.work.iterdir()} == {".json"}
    assert json.loads(next(asked.work.iterdir()).read_text()) == number
