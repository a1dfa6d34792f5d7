"""What came of a league: the front by its definition, and a table that hides no failure."""

import pytest

from jaxreid.benchmark.league.standings import (
    Run,
    Standing,
    StepRatio,
    cell,
    front,
    front_of,
    table,
)

BUDGETS = (1.0, 5.0)


def run(seed, clean, *worst, failure=""):
    """A run with such mAP in %; rank-1 is a tenth of it."""
    keys = ["clean", *(f"worst {eps:g}" for eps in BUDGETS), "fna 5"]
    values = [clean, *worst, 50.0]
    scores = {key: (v / 100, v / 1000) for key, v in zip(keys, values, strict=True)}
    if failure:
        return Run(seed, "jaxreid train", "", "", {}, failure)
    return Run(seed, "jaxreid train", "jaxreid evaluate", "w", scores)


def standing(name, *runs, cost=None):
    return Standing(name, f"synthetic:{name}", runs, cost)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ({}, []),
        ({"a": (0.5, 0.5)}, ["a"]),
        # Nobody has more of both; from left to right.
        ({"a": (0.7, 0.1), "b": (0.5, 0.3), "c": (0.6, 0.2)}, ["b", "c", "a"]),
        # c lies below the line between a and b, and is dominated by none.
        ({"a": (0.0, 1.0), "b": (1.0, 0.0), "c": (0.1, 0.1)}, ["a", "c", "b"]),
        ({"a": (0.7, 0.3), "b": (0.5, 0.3), "c": (0.7, 0.2), "d": (0.6, 0.2)}, ["a"]),
        # Who is equal in one and less in the other is dominated; who is equal in both is not.
        ({"a": (0.7, 0.3), "b": (0.7, 0.3), "c": (0.7, 0.29)}, ["a", "b"]),
    ],
)
def test_the_front(points, expected):
    assert front(points) == expected
    for name, point in points.items():
        better = [o for o in points.values() if o != point and all(map(float.__ge__, o, point))]
        assert (name in expected) == (not better)


def test_means_over_seeds_and_budgets_stand_in_the_table():
    cost = StepRatio(3.456, (1.0,), (0.3,))
    rows = [
        standing("undefended", run(0, 80, 20, 2), run(1, 82, 24, 4)),
        standing("goat", run(0, 70, 60, 10), run(1, 71, 62, 8), cost=cost),
        standing("worse", run(0, 69, 50, 9), run(1, 69, 50, 9)),
    ]
    columns, cells = table(rows, BUDGETS)
    assert columns == [
        "",
        "clean",
        "FNA, eps 5",
        "worst case, eps 1",
        "worst case, eps 5",
        "mean worst case",
        "x step",
        "command",
    ]
    # The deviation of the sample: of 80 and 82 the root of 2; means 11 and 14, 35 and 35.
    assert cells[0] == [
        "**undefended**",
        "81.0 ± 1.4 / 8.1 ± 0.1",
        "50.0 ± 0.0 / 5.0 ± 0.0",
        "22.0 ± 2.8 / 2.2 ± 0.3",
        "3.0 ± 1.4 / 0.3 ± 0.1",
        "12.5 ± 2.1 / 1.2 ± 0.2",
        "",
        "`synthetic:undefended`",
    ]
    assert cells[1][0] == "**goat**"
    assert cells[1][5:7] == ["35.0 ± 0.0 / 3.5 ± 0.0", "3.46"]
    assert cells[2][0] == "worse"
    assert front_of(rows, BUDGETS) == ["goat", "undefended"]


def test_a_row_that_failed_stays_in():
    rows = [
        standing("half", run(0, 70, 60, 10), run(1, 0, 0, 0, failure="step 3: loss nan")),
        standing("none", run(0, 0, 0, 0, failure="step 1: loss inf")),
    ]
    _, cells = table(rows, BUDGETS)
    assert cells[0][:2] == ["**half**, 1 of 2 seeds", "70.0 / 7.0"]
    assert cells[1] == ["none, 0 of 1 seeds", *[""] * 6, "`synthetic:none`"]
    assert front_of(rows, BUDGETS) == ["half"]
    assert rows[1].point(BUDGETS) is None
    assert cell([]) == ""
