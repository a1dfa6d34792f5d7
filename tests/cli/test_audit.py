"""`jaxreid audit`, as it is typed."""

import dataclasses
import json
from pathlib import Path

import pytest
from commands import EMBEDDING, run, working_folder

from jaxreid.cli.audit_table import amount, print_card, verdict
from jaxreid.records import Card, Figure, Flag, RunFolder, ThreatModel

MODULE = (
    EMBEDDING
    + """

def rounded(images):
    return embed(jnp.round(images * 15) / 15)
"""
)
TINY = ("--dataset", "synthetic_reid/tiny")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, audited=MODULE)


@pytest.mark.slow
def test_a_network_with_a_masked_gradient_is_caught(capsys, place):
    words = ("audit", "audited:rounded", *TINY, "--quick", "--limit", 6, "--examples", 0)
    words += ("--surrogate", "audited:embed", "--title", "mine [bold]")
    code, out, err = run(capsys, *words, "--out", "out")
    assert code == 0, err
    card = Card.load(place / "out" / "card.json")
    names = {flag.name for flag in card.raised}
    assert {"no gradient", "backward pass", "random search"} <= names
    assert names <= {flag.name for flag in card.flags}
    assert len(card.flags) == 17
    # Nothing is known of what somebody's function needs.
    assert [flag.name for flag in card.flags if flag.raised is None] == ["preprocessing"]
    assert "warning: no gradient: 100 %, above 1 %" in err
    for name in names:
        assert f"  {name} " in out
    assert "do not trust these figures" in out
    # The figures are those of the run folder, which `evaluate` may go on with.
    results = {one.condition.attack: one for one in RunFolder.open(place / "out").results()}
    assert set(results) == {"clean", "worst-1-quick", *card.attacks}
    worst = results["worst-1-quick"].scores["market1501"]
    assert card.worst.mean_average_precision == worst.mean_average_precision
    assert card.title == "mine [bold]"
    assert card.threat.eps == 5
    assert card.model["function"] == "audited:rounded"
    assert card.command.startswith("jaxreid audit audited:rounded --dataset synthetic_reid/tiny")
    assert card.best_known in results

    code, out, err = run(capsys, *words, "--out", "out", "--strict", "--json")
    assert code == 1
    again = json.loads(out)
    assert "mAP" not in err  # nothing was attacked again but the sample
    assert again["worst"] == {"mean_average_precision": worst.mean_average_precision} | {
        "rank1": worst.rank1
    }
    assert again["flags"] == json.loads((place / "out" / "card.json").read_text())["flags"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--norm", "l2"), "--norm l2 needs --eps"),
        (("--eps", "0"), "eps is 0, at which nothing is attacked"),
        (("--surrogate", "audited:embed"), "is the model itself"),
        (("--surrogate", "nowhere.safetensors"), "nowhere.safetensors"),
    ],
)
def test_what_cannot_be_audited_is_one_line(capsys, place, words, said):
    code, out, err = run(capsys, "audit", "audited:embed", *TINY, *words, "--limit", 4)
    assert (code, out) == (2, "")
    assert said in err
    assert not (place / "runs").exists()


FLAGS = (
    Flag("randomised", False, 0.0, 1e-3, "ratio", "Passes agree. " * 9, "Nothing at all."),
    Flag("above [floor]", True, 12.5, 1.0, "points", "It is above. " * 9, "Look for masking."),
    Flag("transfer", None, None, None, "share", "No surrogate was tried.", "Name one."),
)
CARD = Card(
    title="GOAT [bold] on drawn people",
    command="jaxreid audit goat.safetensors --dataset synthetic_reid",
    model={},
    dataset={},
    settings={},
    threat=ThreatModel("linf", 5.0, "query", "euclidean", "gallery"),
    versions={},
    devices="1 x cpu",
    created="2026-01-01T00:00:00+00:00",
    clean=Figure(0.8, 0.9),
    attacks={"fna": Figure(0.242, 0.29)},
    worst=Figure(0.087, 0.02),
    ensemble="worst-1",
    best_known="worst-1",
    sample=32,
    flags=FLAGS,
)


def test_what_is_printed_fits_80_columns(capsys):
    print_card(CARD, Path("runs/goat"))
    out = capsys.readouterr().out
    lines = out.splitlines()
    rows = [line.split() for line in lines]
    # The worst case comes first, and the clean figure last.
    assert [row[0] for row in rows if row[-1:] in (["2.0"], ["29.0"], ["90.0"])] == [
        *("worst-1", "fna", "clean")
    ]
    assert ["above", "[floor]", "RAISED", "12.50", "points", "1.00", "points"] in rows
    assert ["transfer", "not", "known"] in rows
    # Only what is not fine is explained.
    assert "What to do: Look for masking." in " ".join(out.split())
    assert "What to do: Name one." in " ".join(out.split())
    assert "Passes agree" not in out
    assert all(len(line) <= 80 for line in lines[:-2])
    assert lines[-2] == (
        "1 flag is raised (above [floor]); 1 could not be looked for: do not trust these figures "
        "before you know why"
    )
    assert lines[-1] == "card: runs/goat/card.json"
    fine = dataclasses.replace(CARD, flags=FLAGS[:1])
    assert verdict(fine) == "no flag is raised: nothing speaks against these figures"


def test_amounts_are_in_the_unit_of_their_flag():
    assert amount(0.125, "share") == "12.5 %"
    assert amount(1.0, "share") == "100 %"
    assert amount(0.5, "points") == "0.50 points"
    assert amount(0.95, "ratio") == "0.95"
    assert amount(None, "share") == ""
