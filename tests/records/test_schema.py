"""Keys of conditions: exact, fit for a file; those of ordinary numbers never change."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import impersonation, scores, verification, worst_case

from jaxreid.errors import InputError
from jaxreid.records import Condition, PerQuery, Provenance, Result, RunFolder, Score

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SIDES = st.sampled_from(["query", "gallery"])
CONDITIONS = st.builds(
    Condition,
    attack=st.sampled_from(["fna", "fna_random_pull", "noise", "own-attack", "a/b", "x" * 60]),
    eps=FINITE,
    norm=st.sampled_from(["linf", "l2"]),
    steps=st.integers(0, 10**6),
    step_size=FINITE,
    side=SIDES,
    guides=SIDES,
    distance=st.sampled_from(["euclidean", "cosine"]),
    restarts=st.integers(1, 10**4),
    seed=st.integers(0, 2**32 - 1),
    eight_bit=st.booleans(),
    as_paper=st.booleans(),
)


@given(CONDITIONS)
def test_a_key_names_a_file(condition):
    assert "/" not in condition.key
    assert len(f"{condition.key}.npz".encode()) <= 255


@given(CONDITIONS, CONDITIONS, FINITE, FINITE)
def test_keys_are_equal_where_conditions_are(condition, another, eps, step_size):
    for other in (another, dataclasses.replace(condition, eps=eps, step_size=step_size)):
        assert (other.key == condition.key) == (other == condition)


def test_neighbours_have_names_of_their_own():
    first, second = (Condition(attack="sma", eps=eps) for eps in (1.0000001, 1.0000002))
    assert first.key != second.key
    assert Condition(attack="sma", eps=np.nextafter(1, 2)).key != Condition("sma", 1.0).key
    assert Condition("sma", -0.0).key == Condition("sma", 0.0).key
    assert Condition("sma", np.float32(0.1)).key == Condition("sma", float(np.float32(0.1))).key


@pytest.mark.parametrize(
    ("eps", "text"),
    [(5.0, "5"), (0.5, "0.5"), (1, "1"), (1e22, "1e+22"), (1e-7, "1e-07"), (1e-320, None)],
)
def test_keys_of_ordinary_numbers_are_those_of_earlier_versions(eps, text):
    condition = Condition(attack="fna", eps=eps, eight_bit=True)
    if text is not None:
        written = f"fna-linf{text}-15x1-query-by-query-euclidean-r1-s0-8bit"
        assert condition.key == condition.former_key == written
    assert Condition().key == "clean-euclidean"


def _run(path):
    provenance = Provenance("t", "c", {}, {}, {}, {}, "1 cpu", "2020-06-14T00:00:00+00:00")
    return RunFolder.create(path, provenance)


def _result(**condition):
    score = Score(0.5, 0.6, 0.7, 0.8, 0.4)
    return Result(Condition(**condition), {"market1501": score, "torchreid": score})


def _arrays(figure):
    return PerQuery(*(np.full(2, figure) for _ in dataclasses.fields(PerQuery)))


def test_budgets_that_differ_in_the_eighth_digit_keep_their_figures(tmp_path, kind):
    run = _run(tmp_path)
    results = [_result(attack="sma", eps=eps) for eps in (1.0, 1.0000001, 1.0000002)]
    for figure, result in enumerate(results):
        run.append(result, _arrays(figure))
    assert run.results() == results
    for figure, result in enumerate(results):
        assert PerQuery.load(run.arrays_of(result.condition)).market1501[0] == figure
    kind("evaluate --eps 1.0000001,1.0000002", "two files, two lines, none done again")


def test_files_of_earlier_versions_are_found_under_their_former_names(tmp_path):
    run = _run(tmp_path)
    result = _result(attack="sma", norm="l2", eps=0.5, step_size=2.5 * 0.5 / 15)
    run.append(result, _arrays(7))
    exact = run.arrays_of(result.condition)
    former = exact.with_name(f"{result.condition.former_key}.npz")
    assert former.name == "sma-l20.5-15x0.0833333-query-by-query-euclidean-r1-s0.npz"
    exact.rename(former)
    # A line of an earlier version knows fewer fields.
    lines = tmp_path / "results.jsonl"
    line = json.loads(lines.read_text())
    del line["condition"]["as_paper"]
    lines.write_text(json.dumps(line) + "\n")
    assert run.results() == [result]
    assert PerQuery.load(run.arrays_of(result.condition)).market1501[0] == 7
    # What is not listed is written under its own name, never over another's file.
    near = Condition("sma", 0.5, "l2", step_size=0.0833333)
    assert run.arrays_of(dataclasses.replace(near, step_size=0.08333331)) != former
    # Two that shared the name: whose it is cannot be told.
    run.append(_result(attack="sma", norm="l2", eps=0.5, step_size=0.08333334), _arrays(8))
    assert run.arrays_of(result.condition) == exact


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("worst", None, "worst is missing, which worst-1 has"),
        ("worst/one_image", {}, "worst.one_image is of nothing, expected the protocols of scores"),
        ("worst/eight_bit", {}, "worst.eight_bit is of nothing"),
        ("worst/floor", {"a": 1.0}, "worst.floor is of a, expected the protocols of scores"),
        ("worst/survivors", -1, "worst.survivors is -1, expected a number from 0"),
        ("worst/members/0/images", -1, "worst.members[0].images is -1"),
        ("worst/members/1/name", "", "worst.members[1].name is '', no name"),
        ("worst/members/1/seconds", 1e300, "worst.members[1].seconds is 1e+300"),
        ("verification/same", -1, "verification.same is -1"),
        ("verification/thresholds", {"a": 1.0}, "verification.thresholds has a rate 'a'"),
        ("verification/accepted", {"nan": 1.0}, "verification.accepted has a rate 'nan'"),
        ("verification/chosen_on", "a\nb", "verification.chosen_on is no name"),
        ("impersonation/median_rank", -1, "impersonation.median_rank is -1"),
    ],
)
def test_a_damaged_worst_case_is_refused_by_its_field(path, value, message):
    result = Result(
        Condition("worst-1", 5.0, goal="impersonate"),
        scores(0.5),
        worst=worst_case(0.1),
        verification=verification(0.5),
        impersonation=impersonation(0.2),
    )
    assert Result.from_json(result.to_json()) == result
    fields = place = json.loads(result.to_json())
    *above, last = path.split("/")
    for name in above:
        place = place[int(name) if name.isdecimal() else name]
    place[last] = value
    with pytest.raises(InputError) as said:
        Result.from_json(json.dumps(fields))
    assert message in str(said.value)
