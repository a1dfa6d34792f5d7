"""Results meet on the same axes only if they may be compared; seeds become a spread."""

import dataclasses

import pytest
from run_folders import result, run_in_memory

from jaxreid.report.summary import summarize


def groups_of(runs):
    return summarize(runs).groups


def test_seeds_become_mean_range_and_deviation():
    results = [result(level, seed, attack="sma", eps=5.0) for seed, level in enumerate((0.1, 0.3))]
    (group,) = groups_of([run_in_memory("A", *results)])
    spread = group.curves[0].points[0].spread("market1501")
    assert (spread.mean, spread.low, spread.high, spread.count) == (
        pytest.approx(0.2),
        0.1,
        0.3,
        2,
    )
    assert spread.deviation == pytest.approx(0.1414, abs=1e-4)
    assert group.curves[0].points[0].spread("unheard of") is None
    assert group.curves[0].points[0].spread("market1501", reranked=True) is None


@pytest.mark.parametrize(
    "apart",
    [
        {"norm": "l2"},
        {"side": "gallery"},
        {"guides": "gallery"},
        {"distance": "cosine"},
        {"eight_bit": True},
    ],
)
def test_what_does_not_compare_is_apart(apart):
    results = [result(0.1, attack="fna", eps=5.0), result(0.2, attack="fna", eps=5.0, **apart)]
    first, second = groups_of([run_in_memory("A", *results)])
    assert first.panel.title != second.panel.title
    assert len(first.curves) == len(second.curves) == 1


def test_ways_of_one_attack_are_lines_of_their_own_only_if_they_clash():
    step = [result(0.1, attack="sma", eps=e, step_size=e / 5) for e in (5.0, 10.0)]
    (group,) = groups_of([run_in_memory("A", *step)])
    assert [(curve.variant, len(curve.points)) for curve in group.curves] == [("", 2)]
    clash = [result(0.1, attack="sma", eps=5.0, restarts=r) for r in (1, 3)]
    (group,) = groups_of([run_in_memory("A", *clash)])
    assert [c.variant for c in group.curves] == ["15 steps of 1", "15 steps of 1, 3 restarts"]


def test_the_papers_variants_are_lines_of_their_own_wherever_they_stand():
    ours, theirs = (result(0.1, attack="odfa", eps=e) for e in (1.0, 5.0))
    theirs = dataclasses.replace(
        theirs, condition=dataclasses.replace(theirs.condition, as_paper=True)
    )
    (group,) = groups_of([run_in_memory("A", ours, theirs)])
    assert [(curve.variant, curve.points[0].eps) for curve in group.curves] == [
        ("", 1.0),
        ("as the paper", 5.0),
    ]


def test_numbers_that_are_nearly_equal_are_told_apart():
    near = [result(0.1, attack="sma", eps=5.0, step_size=s) for s in (1.0, 1.0000001)]
    (group,) = groups_of([run_in_memory("A", *near)])
    assert [c.variant for c in group.curves] == ["15 steps of 1", "15 steps of 1.0000001"]
    assert group.panel.budget(1.0000001) == "1.0000001/255"
    assert group.panel.budget(0.5) == "0.5/255"
    assert group.panel.budget(5.0) == "5/255"


def test_attacks_are_compared_where_most_have_a_figure():
    many = [result(0.1, attack=a, eps=e) for a in ("fna", "sma") for e in (1.0, 4.0, 8.0)]
    (group,) = groups_of([run_in_memory("A", *many, result(0.1, attack="odfa", eps=8.0))])
    assert group.eps == 8.0
    (group,) = groups_of([run_in_memory("A", *many)])
    assert group.eps == 4.0
    (group,) = groups_of([run_in_memory("A", result(0.8), result(0.8, attack="fna", eps=0.0))])
    assert group.eps is None


def test_a_run_stands_only_where_it_was_attacked_or_once_if_it_never_was():
    gallery = {"side": "gallery", "attack": "fna", "eps": 5.0}
    both = run_in_memory(
        "A", result(0.8), result(0.1, attack="fna", eps=5.0), result(0.2, **gallery)
    )
    one = run_in_memory("B", result(0.8), result(0.2, **gallery))
    idle = run_in_memory("C", result(0.7))
    groups = groups_of([both, one, idle])
    assert [group.labels for group in groups] == [["A", "B", "C"], ["A"]]


def test_attacks_are_ranked_at_the_budget_of_comparison_or_the_nearest_a_run_has():
    attacks = {"fna": 0.1, "noise": 0.7, "sma": 0.05}
    usual = [result(level, attack=name, eps=5.0) for name, level in attacks.items()]
    stronger = result(0.01, attack="fna", eps=8.0)
    one = run_in_memory("A", result(0.8), *usual, stronger)
    two = run_in_memory("B", result(0.3, attack="sma", eps=3.0))
    summary = summarize([one, two])
    (group,) = summary.groups
    ranked = {
        label: [(outcome.name, outcome.point.eps, outcome.remaining) for outcome in outcomes]
        for label, outcomes in group.outcomes.items()
    }
    assert ranked == {
        "A": [("SMA", 5.0, 0.05), ("FNA", 5.0, 0.1), ("noise", 5.0, 0.7)],
        "B": [("SMA", 3.0, 0.3)],
    }
    assert [outcome.is_noise for outcome in group.outcomes["A"]] == [False, False, True]
    assert summary.by_run["A"].clean_score().mean == 0.8
    assert summary.by_run["B"].clean_score() is None
    assert group.series(group.curves[0], "rank1")[0] == [0.0, 5.0, 8.0]


def test_a_run_is_judged_where_it_is_attacked():
    usual = [result(0.1, attack=name, eps=5.0) for name in ("fna", "sma")]
    one = run_in_memory("A", result(0.8), *usual)
    two = run_in_memory("B", result(0.7), result(0.2, attack="fna", eps=5.0, side="gallery"))
    three = run_in_memory("C", result(0.6))
    by_run = summarize([one, two, three]).by_run
    assert {label: run.group.panel.side for label, run in by_run.items()} == {
        "A": "query",
        "B": "gallery",
        "C": "query",
    }
    assert by_run["B"].strongest.remaining == 0.2
    assert by_run["C"].strongest is None
