"""`jaxreid ers`, as it is typed."""

import json

import pytest
from commands import EMBEDDING, run, working_folder
from rich.console import Console

from jaxreid.cli.ers_table import attack_line, ers_table, summary
from jaxreid.records import ERS_TERMS, Climb, Measured, RankingAttack, RankingAttacks
from jaxreid.report.ers import draw_ers, told_climb

WORDS = ("ers", "orderly:embed", "--dataset", "synthetic_reid/tiny", "--limit", 6)
FEW = ("--steps", 2, "--out", "out")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, orderly=EMBEDDING)


@pytest.mark.slow
def test_a_score_is_printed_drawn_written_and_goes_on(capsys, place):
    some = ("--attacks", "ES,gtm", "--title", "mine [bold]")
    code, out, err = run(capsys, *WORDS, *FEW, *some)
    assert code == 0, err
    assert "mine [bold]" in out
    assert "ERS" not in out.splitlines()[-6]
    assert "gtm: R@1 " in err
    code, out, err = run(capsys, *WORDS, *FEW, "--json")
    assert code == 0
    # What was there is not attacked again.
    assert "gtm: R@1 " not in err
    assert "gtt: in first 4 100.0 to" in err
    shown = json.loads(out)
    assert 0 < shown["ers"] < shown["ers_before"]
    found = RankingAttacks.load(place / "out").attacks
    assert {one.attack for one in found} == {term.attack for term in ERS_TERMS}
    assert {one.climb for one in found} == {Climb(steps=2)}
    for one in found:
        for measure, measured in one.measured.items():
            assert shown["attacks"][one.attack][measure]["after"] == measured.after
    text = (place / "out" / "ers.md").read_text()
    assert f"| ERS |  |  |  | {shown['ers_before']:.1f} | {shown['ers']:.1f} |" in text
    for name in ("ers.svg", "ers.png"):
        assert (place / "out" / name).stat().st_size > 0
    code, out, err = run(capsys, *WORDS[:-1], 5, *FEW)
    assert code == 2
    assert "limit is 6, now 5; name another folder" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--attacks", "qa"), "qa+"),
        (("--attacks", ","), "attacks names none"),
        (("--eps", 0), "--eps must be above 0"),
        (("--eps", 0.03), "--eps"),
        (("--eps", "nan"), "--eps"),
        (("--step-size", 300), "--step-size must be above 0 and at most 255"),
        (("--steps", 0), "--steps"),
        (("--restarts", 0), "--restarts"),
        (("--seed", -1), "--seed"),
        (("--limit", 0), "--limit"),
        (("--distance", "cosine"), "--distance"),
    ],
)
def test_what_cannot_be_asked_is_one_line(capsys, place, words, said):
    code, out, err = run(capsys, *WORDS, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not (place / "runs").exists()


CLIMB = Climb(random_start=True, restarts=3)


def attacks_of(names, climb=CLIMB):
    found = []
    for name in names:
        measures = [term.measure for term in ERS_TERMS if term.attack == name]
        measures = measures or ["rank", "guards"]
        measured = {measure: Measured(0.5, 0.25) for measure in measures}
        found.append(RankingAttack(name, climb, 40, measured))
    return found


ALL = attacks_of(dict.fromkeys([*(term.attack for term in ERS_TERMS), "spqa-"]))


def test_the_table_fits_a_terminal():
    console = Console(width=80)
    with console.capture() as captured:
        console.print(ers_table(ALL, "mine [bold]"))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text.splitlines()]
    assert ["CA+", "rank,", "%", "50.0", "25.0", "100.0", "50.0"] in rows
    assert ["ES:D", "distance", "0.500", "0.250", "75.0", "87.5"] in rows
    assert ["SP-QA-", "rank", "of", "guards,", "%", "50.0", "25.0"] in rows
    # The means of 100, 50, 100, 50, 50, 75 and four times 50, and of half as much left.
    assert ["ERS", "62.5", "51.2"] in rows
    assert "random start, last iterate, 3 starts" in " ".join(text.split())
    assert "| GTT | in first 4, % | 50.0 | 25.0 | 50.0 | 25.0 |" in summary(ALL, "mine")


def test_a_part_has_no_score():
    part = attacks_of(["tma", "spqa+"])
    assert "ERS" not in summary(part, "mine").replace("SP-", "")
    assert attack_line(part[0]) == "tma: cosine 0.500 to 0.250"
    assert attack_line(part[1]) == "spqa+: rank 50.0 to 25.0, rank of guards 50.0 to 25.0"
    (quick,) = attacks_of(["es"], Climb(eps=0.5, best_iterate=True))
    assert told_climb([quick]) == (
        "40 trials; eps 0.5/255, 32 steps of 3/255, clean start, best iterate"
    )


def test_the_figure_says_what_it_shows():
    drawn = draw_ers(ALL, "mine [bold]", name="ers")
    assert "mine [bold], clean to attacked: CA+ 100.0 to 50.0; CA- 50.0 to 75.0;" in drawn.alt
    assert drawn.alt.endswith("ERS 51.2.")
    for words in ("GTT", "clean", "attacked"):
        assert words in drawn.svg
    assert drawn.png.startswith(b"\x89PNG")
