"""`jaxreid adaptive`, as it is typed."""

import json

import pytest
from commands import EMBEDDING, run, working_folder
from rich.console import Console

from jaxreid.cli.adaptive_table import adaptive_table, attack_line
from jaxreid.records import (
    AdaptiveAttack,
    AdaptiveAttacks,
    AdaptiveClimb,
    Alarms,
    Detected,
    Left,
    Reranked,
    RunFolder,
    Score,
)

WORDS = ("adaptive", "knowing:embed", "--dataset", "synthetic_reid/tiny", "--limit", 6)
FEW = ("--steps", 2, "--out", "out")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, knowing=EMBEDDING)


@pytest.mark.slow
def test_tables_are_printed_recorded_and_it_goes_on(capsys, place):
    some = ("--rerank", "--candidates", 12, "--title", "mine [bold]")
    code, out, err = run(capsys, *WORDS, *FEW, *some)
    assert code == 0, err
    assert "mine [bold], behind it re-ranking" in " ".join(out.split())
    assert "re-ranking: re-ranked mAP, %: clean " in err
    both = (*some[:3], "--detector", "bits:4+ flip")
    code, out, err = run(capsys, *WORDS, *FEW, *both)
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    # What was there is not attacked again.
    assert "re-ranking: " not in err
    assert "bits:4+flip: lost without an alarm, %: clean 0.0, oblivious " in err
    code, again, err = run(capsys, *WORDS, *FEW, *both, "--json")
    assert (code, "bits:4+flip: " in err) == (0, False)
    shown = json.loads(again)
    assert list(shown) == ["re-ranking", "bits:4+flip"]
    found = {one.climb.behind: one for one in AdaptiveAttacks.load(place / "out").attacks}
    assert list(found) == [Reranked(12), Detected("bits:4+flip")]
    for told, one in zip(shown.values(), found.values(), strict=True):
        assert told["queries"] == one.queries == 6
        for name in ("clean", "oblivious", "adaptive"):
            left = getattr(one, name).scores["market1501"].mean_average_precision
            assert told[name]["scores"]["market1501"]["mean_average_precision"] == left
    assert shown["bits:4+flip"]["threshold"] > 0
    code, out, err = run(capsys, *WORDS[:-1], 5, *FEW, "--rerank")
    assert code == 2
    assert "limit is 6, now 5; name another folder" in err


@pytest.mark.slow
def test_the_clean_row_is_that_of_evaluate(capsys, place):
    data = WORDS[1:]
    code, _, err = run(capsys, *WORDS, *FEW, "--rerank", "--distance", "cosine")
    assert code == 0, err
    words = ("evaluate", *data, "--rerank", "--distance", "cosine", "--attacks", "clean")
    code, _, err = run(capsys, *words, "--out", "other")
    assert code == 0, err
    (result,) = RunFolder.open(place / "other").results()
    (found,) = AdaptiveAttacks.load(place / "out").attacks
    assert (found.clean.scores, found.clean.reranked) == (result.scores, result.reranked)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing stands behind the network: --rerank or --detector"),
        (("--detector", "median", "--candidates", 9), "--candidates is of re-ranking"),
        (("--rerank", "--false-alarms", 0.1), "--false-alarms is of a detector"),
        (("--rerank", "--candidates", 1), "--candidates"),
        (("--detector", "noise:8"), "noise:8 draws at random"),
        (("--detector", "medain"), "did you mean 'median'?"),
        (("--detector", "median", "--false-alarms", 1), "--false-alarms"),
        (("--rerank", "--eps", 0), "--eps must be above 0"),
        (("--rerank", "--eps", 256), "--eps must be above 0 and at most 255"),
        (("--rerank", "--steps", 0), "--steps"),
        (("--rerank", "--seed", -1), "--seed"),
        (("--rerank", "--limit", 0), "--limit"),
    ],
)
def test_what_cannot_be_asked_is_one_line(capsys, place, words, said):
    code, out, err = run(capsys, *WORDS, *words)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
    assert not (place / "runs").exists()


def scores(share):
    return {"market1501": Score(share, share / 2, 1.0, 1.0, share)}


ORDER = AdaptiveAttack(
    AdaptiveClimb(Reranked(300), eps=0.5),
    60,
    None,
    *(Left(scores(share), reranked=scores(share / 4)) for share in (0.8, 0.4, 0.2)),
)
ALARM = AdaptiveAttack(
    AdaptiveClimb(Detected("jpeg:75+flip", 0.015)),
    60,
    0.123456,
    *(Left(scores(share), alarms=Alarms(0.99, share / 8, 0.875)) for share in (0.8, 0.4, 0.2)),
)


def printed(attack):
    console = Console(width=80)
    with console.capture() as captured:
        console.print(adaptive_table(attack, "mine [bold]"))
    return captured.get()


@pytest.mark.parametrize(
    ("attack", "row", "caption"),
    [
        (
            ORDER,
            ["oblivious", "40.0", "20.0", "10.0", "5.0"],
            "60 queries attacked, eps 0.5/255, 50 steps; adaptive: through re-ranking of 300 items",
        ),
        (
            ALARM,
            ["adaptive", "20.0", "10.0", "99.0", "2.5", "87.5"],
            "threshold 0.1235: 1.5 % of the clean gallery",
        ),
    ],
    ids=["order", "alarm"],
)
def test_a_table_fits_a_terminal(attack, row, caption):
    text = printed(attack)
    assert max(map(len, text.splitlines())) <= 80
    assert row in [line.split() for line in text.splitlines()]
    assert caption in " ".join(text.split())
    assert "mine [bold], behind it" in text


def test_an_attack_in_one_line():
    assert attack_line(ORDER) == (
        "re-ranking: re-ranked mAP, %: clean 20.0, oblivious 10.0, adaptive 5.0"
    )
    assert attack_line(ALARM) == (
        "jpeg:75+flip: lost without an alarm, %: clean 10.0, oblivious 5.0, adaptive 2.5"
    )
