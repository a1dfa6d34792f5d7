"""The score against published tables, and its record in a file."""

import dataclasses
import json

import pytest

from jaxreid.errors import InputError
from jaxreid.records import (
    ERS_FILE,
    ERS_TERMS,
    Climb,
    Measured,
    RankingAttack,
    RankingAttacks,
    ers,
)

# Ten measures each, in the order of ERS_TERMS, and their score by hand: of the first one the terms
# are 0, 0, 0, 0.1, 11.7, 11.9, 0, 0, 14.1 and 0. They are of the size of published rows for CUB,
# whose scores with no defense, EST and ACT are 3.8, 5.3 and 33.9.
ROWS = {
    "no defense": ((0.0, 100.0, 0.0, 99.9, 0.883, 1.762, 0.0, 0.0, 14.1, 0.0), 3.8),
    "EST": ((2.7, 97.9, 0.4, 97.3, 0.848, 1.576, 1.4, 0.0, 4.0, 0.0), 5.3),
    "ACT": ((15.5, 37.7, 15.1, 32.2, 0.472, 0.821, 11.1, 9.4, 14.9, 1.0), 33.9),
}


def attacks_of(row, before=0.5, climb=None):
    """Attacks whose measures are those of a row of a table, shares in %."""
    measured = {}
    for term, value in zip(ERS_TERMS, row, strict=True):
        share = value if term.measure in ("cosine", "shift") else value / 100
        measured.setdefault(term.attack, {})[term.measure] = Measured(before, share)
    climb = climb or Climb()
    return [RankingAttack(name, climb, 10, found) for name, found in measured.items()]


@pytest.mark.parametrize("name", ROWS)
def test_the_score_is_the_mean_of_ten_terms(name):
    row, score = ROWS[name]
    attacks = attacks_of(row)
    assert ers(attacks) == pytest.approx(score, abs=0.05)
    beside = RankingAttack("spqa+", Climb(), 10, {"rank": Measured(0.5, 0.4)})
    assert ers([beside, *reversed(attacks)]) == pytest.approx(score, abs=0.05)


def test_clean_images_score_what_no_attack_gets_above():
    clean = (50.0, 0.0, 50.0, 0.0, 0.0, 0.0, 100.0, 100.0, 100.0, 100.0)
    assert ers(attacks_of(clean)) == pytest.approx(100)
    assert ers(attacks_of(clean, before=0.25), attacked=False) == pytest.approx(
        (50 + 75 + 50 + 75 + 75 + 87.5 + 4 * 25) / 10
    )


def test_a_score_is_of_all_attacks_and_of_one_climb():
    attacks = attacks_of(ROWS["ACT"][0])
    assert ers(attacks[1:]) is None
    other = dataclasses.replace(attacks[0], climb=Climb(seed=1))
    for wrong in ([other, *attacks[1:]], [*attacks, attacks[0]], [*attacks, other]):
        with pytest.raises(InputError, match="one climb, each of them once"):
            ers(wrong)


def test_what_is_written_is_read_back(tmp_path):
    twice = [*attacks_of(ROWS["EST"][0]), *attacks_of(ROWS["ACT"][0], climb=Climb(eps=4))]
    found = RankingAttacks(tuple(twice))
    found.save(tmp_path)
    assert RankingAttacks.load(tmp_path) == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields.update(schema=2), "schema 2"),
        (lambda fields: fields["attacks"][0].pop("climb"), r"attacks\[0\].*climb"),
        (lambda fields: fields["attacks"][0].update(trials=0), r"attacks\[0\].trials is 0"),
        (lambda fields: fields["attacks"][1].update(trials=-1), r"attacks\[1\].trials"),
        (lambda fields: fields["attacks"].append(fields["attacks"][0]), "one attack twice"),
        (lambda fields: fields["attacks"][0]["measured"].clear(), "lacks rank"),
        (
            lambda fields: fields["attacks"][0]["measured"]["rank"].update(after=7),
            r"attacks\[0\].measured.*after",
        ),
        (lambda fields: fields["attacks"][0]["climb"].update(steps="many"), "climb.steps"),
    ],
)
def test_a_damaged_record_says_where(tmp_path, change, said):
    RankingAttacks(tuple(attacks_of(ROWS["ACT"][0]))).save(tmp_path)
    fields = json.loads((tmp_path / ERS_FILE).read_text())
    change(fields)
    (tmp_path / ERS_FILE).write_text(json.dumps(fields))
    with pytest.raises(InputError, match=said):
        RankingAttacks.load(tmp_path)


def test_no_record_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        RankingAttacks.load(tmp_path)
