"""An audit's flags: the raised ones first, and a caveat before all others."""

import dataclasses

import pytest
from run_folders import attacked_run, card

from jaxreid.errors import InputError
from jaxreid.report.audits import audit_of
from jaxreid.report.caveats import find_caveats
from jaxreid.report.headlines import headline_of
from jaxreid.report.runs import open_runs
from jaxreid.report.summary import summarize


def audited(*raised: str):
    return dataclasses.replace(attacked_run("A", fna=0.3), card=card(*raised))


def test_raised_flags_come_first_and_what_was_not_looked_for_last():
    found = audit_of(audited("8 bits", "more steps"))
    assert [(row.name, row.state) for row in found.rows] == [
        ("more steps", "raised"),
        ("8 bits", "raised"),
        ("randomised", "passed"),
        ("transfer", "not looked for"),
    ]
    assert (found.raised, found.looked_for) == (2, 3)
    numbers = [
        (row.number.replace("\u00a0", " "), row.limit.replace("\u00a0", " ")) for row in found.rows
    ]
    assert numbers == [("1.2 points", "0.5 points"), ("3.0 %", "10.0 %"), ("0", "0.001"), ("", "")]
    assert [row.advice for row in found.rows] == ["Do more.", "Round.", "", "Name one."]
    assert found.setting == (
        "queries attacked within 5/255, Euclidean distance, the attacker knows the gallery; flags "
        "from 24 queries"
    )
    assert (found.best, found.worst, found.clean) == ("Worst case", (0.1, 0.12), (0.8, 0.96))


def test_figures_that_an_audit_distrusts_are_the_first_caveat():
    first, *_ = find_caveats(summarize([audited("8 bits")]))
    assert first.startswith("An audit of A raised a flag (8 bits): what is left may be less")
    first, *_ = find_caveats(summarize([audited("8 bits", "randomised")]))
    assert "raised 2 flags (randomised and 8 bits)" in first
    assert "audit" not in "".join(find_caveats(summarize([audited()])))
    assert audit_of(attacked_run("A", fna=0.3)) is None


def test_the_numbers_of_a_run_carry_the_warning():
    summary = summarize([audited("8 bits", "randomised")])
    run = summary.by_run["A"]
    assert headline_of(run, card("8 bits", "randomised")).note == "An audit raised 2 flags"
    assert headline_of(run, card("8 bits")).note == "An audit raised 1 flag"
    assert headline_of(run, card()).note == headline_of(run).note == ""


def test_a_damaged_card_is_named(make_run):
    run = make_run(attacks=())
    card().save(run.path)
    (opened,) = open_runs([run.path])
    assert opened.card == card()
    (run.path / "card.json").write_text("{}")
    with pytest.raises(InputError, match=r"card\.json"):
        open_runs([run.path])
