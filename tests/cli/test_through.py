"""Defenses at test time and who attacks them, as they are typed."""

import json

import pytest
from commands import EMBEDDING, run, working_folder

from jaxreid.records import Card, RunFolder

# What `--through bits:1` makes of it, written by hand.
MODULE = (
    EMBEDDING
    + """

def squeezed(images):
    return embed(jnp.round(images))
"""
)
DATA = ("--dataset", "synthetic_reid/tiny")
TINY = (*DATA, "--limit", 6, "--steps", 2, "--examples", 0, "--eps", 8)


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, defended=MODULE)


def test_both_attackers_in_one_table(capsys, place):
    words = ("evaluate", "defended:embed", *TINY, "--attacks", "noise,fna", "--seeds", 1)
    words += ("--through", "bits:3 + flip", "--attacker", "oblivious,adaptive")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    folder = RunFolder.open(place / "runs" / "embed-through-bits3+flip-synthetic_reid")
    assert folder.provenance.settings["through"] == "bits:3+flip"
    assert folder.provenance.title == "embed through bits:3+flip on synthetic_reid/tiny"
    conditions = [result.condition for result in folder.results()]
    assert [(one.attack, one.surrogate) for one in conditions] == [
        ("clean", ""),
        ("noise", ""),
        ("fna", "undefended"),
        ("fna", ""),
    ]
    assert "fna, from undefended" in out
    assert "all images ranked through bits:3+flip" in out
    # The same command has nothing left to do; without the defense it is another run.
    code, _, err = run(capsys, *words)
    assert code == 0
    assert "fna" not in err
    code, _, err = run(capsys, "evaluate", "defended:embed", *TINY, "--out", folder.path)
    assert code == 2
    assert "settings through is 'bits:3+flip', now None" in err


@pytest.mark.slow
def test_ranks_and_thresholds_are_those_of_the_whole(capsys, place):
    words = ("--attacks", "clean", "--verification", "--validation-split", "train", "--rerank")
    found = []
    for model, more in (("embed", ("--through", "bits:1")), ("squeezed", ()), ("embed", ())):
        out = ("--out", str(len(found)))
        run_of = ("evaluate", f"defended:{model}", *DATA, *words, *more, *out)
        code, _, err = run(capsys, *run_of)
        assert code == 0, err
        (result,) = RunFolder.open(place / out[1]).results()
        found.append((result.scores, result.reranked, result.verification))
    assert found[0] == found[1] != found[2]


@pytest.mark.slow
def test_a_random_defense_is_attacked_by_its_mean(capsys, place):
    words = ("evaluate", "defended:embed", *TINY, "--attacks", "fna", "--seeds", 1)
    code, _, err = run(capsys, *words, "--through", "noise:8", "--draws", 2)
    assert code == 0, err
    folder = RunFolder.open(place / "runs" / "embed-through-noise8-synthetic_reid")
    assert folder.results()[1].condition.surrogate == "mean-of-2-draws"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--through", "jepg:75"), "did you mean 'jpeg'?"),
        (("--through", "jpeg:500"), "from 1 to 100"),
        (("--through", "jpeg:75", "--attacker", "both"), "--attacker must be adaptive or"),
        (("--through", "jpeg:75", "--attacker", ","), "--attacker must be adaptive or"),
        (("--through", "jpeg:75", "--draws", 3), "jpeg:75 draws nothing"),
        (("--attacker", "oblivious"), "--attacker is of a defense: it needs --through"),
        (("--draws", 3), "--draws is of a defense"),
        (("--through", "flip", "--surrogate", "x"), "cannot be given with --through"),
        (("--through", "noise:8", "--attacks", "worst"), "the worst case climbs what ranks"),
        (
            ("--through", "flip", "--attacks", "fna,worst", "--attacker", "oblivious"),
            "the worst case climbs what ranks",
        ),
        (("--images", "x", "--draws", 3), "--draws cannot be given with --images"),
        (("--images", "x", "--through", "flip"), "--through cannot be given with --images"),
    ],
)
def test_what_is_refused(capsys, place, words, message):
    code, _, err = run(capsys, "evaluate", "defended:embed", *DATA, *words)
    assert code == 2
    assert message in " ".join(err.split())
    assert not (place / "runs").exists()


def test_one_image_for_all_draws_is_not_written(capsys, place):
    words = ("defended:embed", *DATA, "--through", "noise:8", "--out", "images")
    code, _, err = run(capsys, "attack", *words)
    assert code == 2
    assert "draws at random" in err
    assert not (place / "images").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--draws", 3), "--draws is of a defense: it needs --through"),
        (("--through", "flip", "--draws", 3), "flip draws nothing"),
    ],
)
def test_an_audit_has_draws_of_what_draws(capsys, place, words, message):
    code, _, err = run(capsys, "audit", "defended:embed", *DATA, *words)
    assert code == 2
    assert message in " ".join(err.split())
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_of_a_random_defense_the_mean_is_audited(capsys, place):
    words = ("--limit", 6, "--quick", "--examples", 0, "--through", "noise:8", "--draws", 2)
    code, _, err = run(capsys, "audit", "defended:embed", *DATA, *words)
    assert code == 0, err
    (folder,) = (place / "runs").iterdir()
    assert folder.name == "embed-through-noise8-synthetic_reid-mean-of-2-draws"
    card = Card.load(folder)
    assert "through noise:8 (mean of 2 draws)" in card.title
    assert (card.settings["through"], card.settings["draws"]) == ("noise:8", 2)
    # The same draws for every pass: what is climbed is what is ranked.
    (randomised,) = (flag for flag in card.flags if flag.name == "randomised")
    assert randomised.raised is False


def test_images_are_ranked_through_what_they_were_made_through(capsys, place):
    few = (*DATA, "--limit", 6)
    words = ("--attack", "fna", "--eps", 8, "--steps", 2, "--through", "bits:1")
    code, _, err = run(capsys, "attack", "defended:embed", *few, *words, "--out", "images")
    assert code == 0, err
    found = []
    # Whoever has the defense in the network meets it once more, which changes nothing.
    for model in ("embed", "squeezed"):
        words = ("evaluate", f"defended:{model}", "--images", "images", "--out", model)
        code, out, err = run(capsys, *words)
        assert code == 0, err
        assert "all images ranked through bits:1" in out
        results = RunFolder.open(place / model).results()
        found.append([result.scores for result in results])
    assert found[0] == found[1]
    manifest = json.loads((place / "images" / "manifest.json").read_text())
    manifest["settings"]["through"] = "jepg:3"
    (place / "images" / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = run(capsys, "evaluate", "defended:embed", "--images", "images")
    assert code == 2
    assert "did you mean 'jpeg'?" in err
