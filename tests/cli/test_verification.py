"""`jaxreid evaluate --goal impersonate --verification`, as it is typed."""

import io
import re

import numpy as np
import pytest
from commands import EMBEDDING, run, working_folder
from rich.console import Console

from jaxreid.cli.verification import goal_tables
from jaxreid.records import Condition, Impersonation, Result, RunFolder, Score, Verification

EVALUATE = ("evaluate", "posing:embed", "--dataset", "synthetic_reid/tiny", "--examples", 0)
SCORES = {"market1501": Score(0.5, 0.5, 0.5, 0.5, 0.5)}


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, posing=EMBEDDING)


def shown(tables):
    console = Console(width=140, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.file.getvalue()


@pytest.mark.slow
def test_whom_queries_are_taken_for(capsys, place):
    words = (*EVALUATE, "--goal", "impersonate", "--eps", 8, "--steps", 3, "--seeds", 1)
    words += ("--verification", "--validation-split", "train", "--out", "out")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    rows = re.findall(r"^ *(clean|fna|fna_without_push)(?:, as another)? +", out, re.MULTILINE)
    posing = ["fna", "fna_without_push"]
    assert rows == ["clean", *posing, *posing, "clean", *posing]
    assert "clean pairs of train;" in " ".join(out.split())
    results = RunFolder.open(place / "out").results()
    assert [bool(result.impersonation) for result in results] == [False, True, True]
    assert all(result.verification.chosen_on == "train" for result in results)
    assert {result.condition.target for result in results[1:]} == {"random"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--verification", "--validation-split", "trian"), "has no split 'trian'; there are"),
        (("--validation-split", "train"), "it needs --verification"),
        (("--target", "3"), "needs goal=impersonate"),
        (("--goal", "impersonate", "--attacks", "sma"), "sma aims at nobody"),
        (("--goal", "impersonate", "--target", "everybody"), "random or an identity"),
        (("--goal", "impersonate", "--side", "gallery"), "of queries alone"),
        (
            ("--goal", "impersonate", "--target", "9999"),
            "with an image in the gallery and in the query split: ",
        ),
    ],
)
def test_wrong_aims_are_one_line_and_two(capsys, place, words, message):
    code, out, err = run(capsys, *EVALUATE, "--eps", 2, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("splits", [None, ("query", "gallery")])
def test_a_dataset_that_holds_out_too_few(capsys, place, monkeypatch, splits):
    # One person is held out of the tiny one: no pair of two people.
    if splits:
        monkeypatch.setattr("jaxreid.data.source.available_splits", lambda *_, **__: splits)
    words = ("--attacks", "noise", "--verification", "--out", "out")
    code, out, err = run(capsys, *EVALUATE, "--eps", 2, "--seeds", 1, *words)
    assert code == 0, err
    assert "note: synthetic_reid/tiny holds out too few people" in err
    said = " ".join(out.split())
    assert "its own clean pairs" in said
    # 22 queries and 58 items have some 1,100 pairs of two people.
    assert "a threshold at 0.0001" in said


def test_tables_over_seeds():
    def result(seed, first, passed):
        condition = Condition("fna", 5.0, goal="impersonate", target="7", seed=seed)
        shares = {"0.01": 0.25}, {"0.01": passed}
        return Result(
            condition,
            SCORES,
            impersonation=Impersonation(9, 0.0, first, 0.5, 0.75, 40.0, 4.0 + seed),
            verification=Verification(10, 99, 0.125, {}, {"0.01": 1.5}, *shares, "train"),
        )

    text = shown(goal_tables([result(0, 0.25, 0.5), result(1, 0.75, 1.0)]))
    spread = f"{50.0:.1f} ±{100 * np.std([0.25, 0.75], ddof=1):.1f}"
    rows = [line.split("  ") for line in text.splitlines() if "fna, as 7" in line]
    impersonation, verification = ([cell.strip() for cell in row if cell.strip()] for row in rows)
    zero, five, ten = "0.0 ±0.0", "50.0 ±0.0", "75.0 ±0.0"
    assert impersonation == ["fna, as 7", "5", "9", zero, spread, five, ten, "40", "4.5"]
    assert verification == ["fna, as 7", "5", "12.5 ±0.0", "25.0 ±0.0", "75.0 ±35.4"]
    assert "FAR 0.01" in text
    assert "FAR 0.001" not in text
    assert list(goal_tables([Result(Condition(), SCORES)])) == []
