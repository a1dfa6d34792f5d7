"""Impersonation and verification: said, in tables, and drawn on a logarithmic axis."""

import dataclasses

import numpy as np
import pytest
from run_folders import impersonation, result, roc, run_in_memory, verification, worst_result

from jaxreid.records import VerificationCurve
from jaxreid.report.caveats import find_caveats
from jaxreid.report.findings import describe_findings
from jaxreid.report.headlines import headline_of
from jaxreid.report.recognition import (
    checked,
    impersonated,
    rates_of,
    thresholds_of,
    told_impersonations,
    told_verifications,
)
from jaxreid.report.roc import draw_roc, share_at, shown_curves
from jaxreid.report.runs import Run
from jaxreid.report.summary import summarize


def aiming(first: float, eps: float, target: str = "random", **fields):
    one = worst_result(0.1, eps, goal="impersonate", target=target)
    return dataclasses.replace(one, impersonation=impersonation(first), **fields)


def full_run() -> Run:
    clean = dataclasses.replace(
        result(0.8), verification=dataclasses.replace(verification(1.0), chosen_on="holdout")
    )
    evading = dataclasses.replace(worst_result(0.1), verification=verification(0.25))
    fna = result(0.4, attack="fna", eps=5.0)
    judged = aiming(0.5, 5.0, verification=verification(0.9, 300.0))
    weaker, chosen = aiming(0.2, 1.0), aiming(0.75, 5.0, "17")
    return run_in_memory("A", clean, evading, fna, weaker, judged, chosen)


def plain(texts: list[str]) -> str:
    return " ".join(texts).replace("\u00a0", " ")


def test_an_impersonation_is_told_at_the_budget_of_comparison():
    rows = impersonated(summarize([full_run()]), "A")
    assert [(row.whom, row.budget, row.figures.first) for row in rows] == [
        ("a random other person", "1/255", 0.2),
        ("a random other person", "5/255", 0.5),
        ("person 17", "5/255", 0.75),
    ]
    assert plain(told_impersonations(rows, 5.0)) == (
        "Whoever wants to be found as a random other person comes first as that person in 50.0 % "
        "of the searches at 5/255, and in 1.0 % without an attack. Whoever wants to be found as "
        "person 17 comes first as that person in 75.0 % of the searches at 5/255, and in 1.0 % "
        "without an attack."
    )
    assert told_impersonations([], 5.0) == []
    better = dataclasses.replace(rows[1], figures=impersonation(0.625))
    assert "in 62.5 % of the searches" in plain(told_impersonations([*rows, better], 5.0))


def test_impersonations_are_no_worst_case_and_no_curve_of_map():
    summary = summarize([full_run()])
    evading, aimed = summary.groups
    assert (evading.panel.goal, aimed.panel.goal) == ("evade", "impersonate")
    assert not any(outcome.is_worst_case for outcome in aimed.outcomes["A"])
    assert not any(curve.style.bold for curve in aimed.curves)
    assert summary.by_run["A"].worst_case.remaining == 0.1


def test_a_run_of_impersonations_alone_is_told_by_how_often_they_succeed():
    clean, weak, strong = result(0.8), aiming(0.25, 5.0), aiming(0.5, 5.0, "17")
    run = run_in_memory("A", clean, weak, strong)
    summary = summarize([run, dataclasses.replace(run, label="B")])
    first, *others = describe_findings(summary)
    assert first.headline.startswith("Whoever wants to be found as a random other person")
    # Two runs, and no comparison of mAP.
    assert len(others) == 1
    bars = headline_of(summary.by_run["A"], aimed=impersonated(summary, "A")).bars
    assert [bar.value.mean for bar in bars] == [0.5, 0.8]
    assert "find the person first whom the attacker aims at, at 5/255" in bars[0].what
    assert "worst case" not in "".join(find_caveats(summary))


def test_who_passes_most_often_as_another_comes_first():
    clean = dataclasses.replace(result(0.8), verification=verification(0.9))
    rates = {"random": 10.0, "17": 300.0}
    judged = [aiming(0.5, 5.0, who, verification=verification(0.9, n)) for who, n in rates.items()]
    rows = checked(summarize([run_in_memory("A", clean, *judged)]), "A")
    assert [row.name for row in rows] == [
        "clean images",
        "impersonation (person 17)",
        "impersonation (random person)",
    ]


def test_thresholds_are_told_in_both_directions():
    rows = checked(summarize([full_run()]), "A")
    assert [(row.name, row.goal) for row in rows] == [
        ("clean images", None),
        ("worst case", "evade"),
        ("impersonation (random person)", "impersonate"),
    ]
    # By `verification`: 0.8 * 0.9 of the level passes the clean threshold of 0.1 %.
    assert plain(told_verifications(rows)) == (
        "By a threshold that lets 0.1 % of the clean pairs of two people pass, 72.0 % of the pairs "
        "of one person pass clean, and 18.0 % under attack (worst case at 5/255). By the same one, "
        "30.0 % of the pairs of an attacker at 5/255 and the target pass."
    )
    assert [text.replace("\u00a0", " ") for _, text in rates_of(rows)] == ["1 %", "0.1 %", "0.01 %"]
    assert thresholds_of(rows) == "holdout"
    assert plain(told_verifications(rows[2:])).startswith("By a threshold that lets 0.1 %")
    assert told_verifications(rows[:1]) == []


def test_rates_that_too_few_pairs_had_are_left_out():
    few = dataclasses.replace(verification(0.5), accepted_by={}, passed_by={}, accepted={})
    run = run_in_memory(
        "A",
        dataclasses.replace(result(0.8), verification=few),
        dataclasses.replace(worst_result(0.1), verification=few),
    )
    rows = checked(summarize([run]), "A")
    assert len(rows) == 2
    assert told_verifications(rows) == []
    assert rates_of(rows) == []


def test_a_roc_is_read_at_its_corners():
    curve = VerificationCurve(
        np.array([0.0, 0.0, 1e-3, 0.5, 1.0]),
        np.array([0.0, 0.25, 0.5, 0.75, 1.0]),
        np.array([-np.inf, 0.1, 0.2, 0.3, np.inf]),
    )
    assert [share_at(curve, rate) for rate in (0.0, 9e-4, 1e-3, 1.0)] == [0.25, 0.25, 0.5, 1.0]


def test_a_roc_shows_clean_pairs_and_both_directions():
    rows = shown_curves(checked(summarize([full_run()]), "A"))
    assert [row.goal for row in rows] == [None, "evade", "impersonate"]
    drawn = draw_roc("A", [(row, roc(0.5)) for row in rows], "x")
    # true = false^0.25 of the synthetic curves, at a false accept rate of 0.001.
    assert f"worst case, 5/255: {100 * 0.001**0.25:.1f}" in drawn.alt
    for part in ("clean images", "worst case, 5/255", "0.01 %", "100 %"):
        assert part in drawn.svg


def test_a_run_without_pairs_has_neither():
    summary = summarize([run_in_memory("A", result(0.8), worst_result(0.1))])
    assert (impersonated(summary, "A"), checked(summary, "A")) == ([], [])
    assert shown_curves([]) == []


@pytest.mark.parametrize("rate", ["0.001", "0.01"])
def test_the_nearest_known_rate_is_told(rate):
    only = {rate: 0.5}
    one = dataclasses.replace(verification(0.5), accepted_by=only, passed_by={}, accepted={})
    run = run_in_memory(
        "A",
        dataclasses.replace(result(0.8), verification=one),
        dataclasses.replace(worst_result(0.1), verification=one),
    )
    told = plain(told_verifications(checked(summarize([run]), "A")))
    assert f"lets {100 * float(rate):g} % of the clean pairs" in told
