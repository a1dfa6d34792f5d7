"""Rows of a league: as they are typed, as a file has them, and what of them is refused at once."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from commands import run

from jaxreid.cli.benchmark.defense_rows import Defense, default_list, from_file, from_text, rows_of
from jaxreid.cli.configuration import load
from jaxreid.data.source import open_split
from jaxreid.errors import InputError

START = Path("plain.safetensors")


@pytest.fixture
def common(tiny_data):
    return [
        "--config.dataset.name=synthetic_reid/tiny",
        f"--config.dataset.data_dir={tiny_data}",
        "--config.batch.size=8",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nna=goat=nna", Defense("nna", "goat=nna")),
        ("eps=:goat.eps=4", Defense("eps", "goat=fna", ("goat.eps=4",))),
        (
            "steps=goat=sma:schedule.name=steps,schedule.boundaries=(4,8), goat.eps=0.5/255",
            Defense(
                "steps",
                "goat=sma",
                ("schedule.name=steps", "schedule.boundaries=(4,8)", "goat.eps=0.5/255"),
            ),
        ),
        ("two=goat=fna,dtype=bfloat16", Defense("two", "goat=fna,dtype=bfloat16")),
    ],
)
def test_a_row_as_it_is_typed(text, expected):
    assert from_text(text) == expected


def test_a_row_of_a_file(tmp_path, common):
    path = tmp_path / "rows.toml"
    path.write_text(
        '[steps]\nwords = "goat=sma"\nschedule.name = "steps"\nschedule.boundaries = [4, 8]\n'
        "goat.clean_fraction = 0\n[bank]\ngoat.guide_bank = true\n"
    )
    rows = rows_of("synthetic", common, from_file(path), START)
    assert [row.name for row in rows] == ["undefended", "goat", "steps", "bank"]
    undefended, goat, steps, bank = (row.config for row in rows)
    assert undefended == goat.replace({"goat.enabled": False})
    assert (goat.goat.push, goat.goat.pull) == (4, 1)
    assert (steps.goat.push, steps.schedule.boundaries) == (0, (4, 8))
    assert steps.goat.clean_fraction == 0
    assert bank == goat
    for row in rows:
        assert row.config.model.start_from == str(START)
        # What a table says is what was run.
        assert load(row.words[0], row.words[1:]) == row.config
    assert rows[2].shown.startswith("synthetic:goat=sma --config.schedule.name=steps")


def test_rows_see_as_many_images(common):
    row = from_text("people=:batch.sampler=identities,loss.triplet_weight=1")
    _, goat, people = rows_of("synthetic", [*common, "--config.epochs=4"], [row], START)
    place = common[1].partition("=")[2]
    labels = np.asarray(open_split("synthetic_reid/tiny", "train", data_dir=place).labels)
    seen = goat.config.epochs * (len(labels) // 8) * 8
    assert goat.config.epochs == 4
    # Two people with four images each in a batch, every person once per epoch and one again, who
    # fills the last batch.
    per_epoch = -(-len(np.unique(labels)) // 2) * 8
    assert people.config.epochs == seen // per_epoch > 4
    assert (people.config.epochs + 1) * per_epoch > 1.02 * seen
    assert people.config.evaluation.every_epochs == people.config.epochs
    assert load(people.words[0], people.words[1:]) == people.config


def test_other_batches_leave_the_epochs_as_they_are(common):
    # Of 86 images 80 fill batches of 8, and 84 those of 6 or of 4.
    rows = [from_text(f"b{size}=:batch.size={size}") for size in (6, 4)]
    found = rows_of("synthetic", [*common, "--config.epochs=4"], rows, START)
    assert [row.config.epochs for row in found] == [4, 4, 3, 3]
    nearly = rows_of("synthetic", [*common[:2], "--config.batch.size=7"], rows, START)
    assert {row.config.epochs for row in nearly} == {16}


def test_epochs_that_words_bring_are_the_league_s_to_say(common):
    # As a preset, defense=hm has 64 epochs: those of people have fewer images than others.
    texts = ("hm=defense=hm", "people=:batch.sampler=identities", "nna=goat=nna")
    _, goat, hm, people, nna = rows_of("synthetic", common, [*map(from_text, texts)], START)
    assert goat.config.epochs == nna.config.epochs == 16
    assert hm.config.epochs == people.config.epochs > 16
    assert hm.config.evaluation == people.config.evaluation
    for row in (hm, people, nna):
        assert load(row.words[0], row.words[1:]) == row.config
    assert not any("epochs" in word for word in nna.words)
    assert hm.shown == "synthetic:defense=hm"


@pytest.mark.slow
def test_the_bundled_rows_are_right(common):
    rows = rows_of("synthetic", common, from_file(default_list()), START)
    assert len(rows) == len({row.config for row in rows}) > 15
    assert all(row.config.goat.enabled for row in rows if row.name != "undefended")


# What is typed -> what the only line says.
WRONG = {
    "--defense x": "'x': expected NAME=words:field=value",
    "--defense a/b=goat=sma": "'a/b' is no name of a row",
    "--defense goat=goat=sma": "defense goat: the name",
    "--defense plain=goat=sma": "defense plain: the name",
    "--defense a=goat=sma --defense a=goat=nna": "defense a: the name",
    "--defense a=goat=fnb": "defense a: synthetic:goat=fnb: expected goat=",
    "--defense a=:goat.epz=4": "defense a: no field goat.epz; did you mean 'goat.eps'?",
    "--defense a=:goat.eps=x": "defense a: goat.eps must be a number",
    "--defense a=:goat.steps=0": "defense a: goat.steps must be",
    "--defense a=:goat.objective=margin": "defense a: goat.objective margin has no guides",
    "--defense a=:epochs=3": "defense a: epochs is the same for all rows",
    "--defense a=:seed=3": "defense a: seed is the same for all rows",
    "--defense a=goat=fna,dtype=bfloat16": "defense a: model.dtype is the same for all rows",
    "--defense a=:evaluation.attack=fna": "defense a: evaluation.attack is the same",
    "--list nowhere.toml": "--list nowhere.toml: No such file",
    "--list broken.toml": "--list broken.toml: Expected '='",
    "--list flat.toml": "flat.toml: a: expected a table",
    "--list words.toml": "words.toml: a: words must be a text, got 3",
    "--list date.toml": "date.toml: goat.eps: expected a number",
    "--config synthetic:goat=sma": "name a preset without goat=",
    "--start-from nowhere.safetensors": "there is no file nowhere.safetensors",
    "--eps 0,5": "--eps 0 attacks nothing",
    "--eps 0.5": "0.5/255",
}


@pytest.mark.parametrize("words", WRONG)
def test_everything_is_refused_before_anything_runs(
    words, capsys, tmp_path, monkeypatch, common, kind
):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("broken", "[a]\nx y"),
        ("flat", "a = 3"),
        ("words", "[a]\nwords = 3"),
        ("date", "[a]\ngoat.eps = 2020-01-01"),
    ):
        (tmp_path / f"{name}.toml").write_text(text)
    given = ("benchmark", "defenses", "--out", "league", "--defense", "good=goat=nna")
    code, out, err = run(capsys, *given, *common, *shlex.split(words))
    assert (code, out) == (2, ""), err
    assert WRONG[words] in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "league").exists()
    kind(f"benchmark defenses {words}", f"exit 2: {err}")


def test_a_row_that_is_no_row_names_itself():
    with pytest.raises(InputError, match="expected NAME=words"):
        from_text("nna")
