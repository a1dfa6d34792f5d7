"""Records of evaluations: what is written comes back, whatever interrupts."""

import dataclasses
import json

import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.records import SCHEMA, Condition, PerQuery, Provenance, Result, RunFolder, Score

PROVENANCE = Provenance(
    title="a run",
    command="jaxreid evaluate 'x y'",
    model={"architecture": "resnet50"},
    dataset={"name": "synthetic_reid"},
    settings={"eps": [1, 5]},
    versions={"jax": "0.10.2"},
    devices="1 cpu",
    created="2020-06-14T00:00:00+00:00",
)
SCORE = Score(0.5, 0.6, 0.7, 0.8, 0.4)


def result(**condition) -> Result:
    return Result(Condition(**condition), {"market1501": SCORE, "torchreid": SCORE}, attacked=2)


def arrays(count: int = 2) -> PerQuery:
    return PerQuery(
        identities=np.arange(1, count + 1),
        cameras=np.zeros(count, int),
        valid=np.ones(count, bool),
        first_match_rank=np.ones(count, int),
        market1501=np.linspace(0, 1, count),
        torchreid=np.linspace(0, 1, count),
    )


def test_what_is_written_comes_back(tmp_path):
    run = RunFolder.create(tmp_path / "deep" / "run", PROVENANCE)
    first = result()
    second = dataclasses.replace(result(attack="fna", eps=5.0), reranked={"market1501": SCORE})
    for one in (first, second):
        run.append(one, arrays())
    again = RunFolder.open(run.path)
    assert again.provenance == PROVENANCE
    assert again.results() == [first, second]
    stored = PerQuery.load(again.arrays_of(second.condition))
    assert np.array_equal(stored.market1501, arrays().market1501)
    assert stored.valid.dtype == bool


def test_every_field_of_a_condition_but_those_of_clean_images_is_in_its_key():
    base = Condition(attack="sma", eps=5.0)
    others = {
        "attack": "fna",
        "eps": 2.5,
        "norm": "l2",
        "steps": 7,
        "step_size": 0.5,
        "side": "gallery",
        "guides": "gallery",
        "distance": "cosine",
        "restarts": 3,
        "seed": 9,
        "eight_bit": True,
    }
    assert set(others) == {field.name for field in dataclasses.fields(Condition)}
    keys = {dataclasses.replace(base, **{name: value}).key for name, value in others.items()}
    assert len(keys | {base.key}) == len(others) + 1
    assert Condition().key == Condition(seed=3).key
    assert Condition(distance="cosine").key != Condition().key


def test_a_line_cut_short_is_forgotten_and_swallows_no_other(tmp_path):
    run = RunFolder.create(tmp_path, PROVENANCE)
    run.append(result(), arrays())
    lines = tmp_path / "results.jsonl"
    with lines.open("a") as file:
        file.write(result(attack="fna", eps=5.0).to_json()[:50])
    assert [one.condition.attack for one in run.results()] == ["clean"]
    run.append(result(attack="sma", eps=5.0), arrays())
    assert [one.condition.attack for one in run.results()] == ["clean", "sma"]


def test_the_last_result_of_a_condition_counts(tmp_path):
    run = RunFolder.create(tmp_path, PROVENANCE)
    run.append(result(), arrays())
    better = dataclasses.replace(result(), attacked=7)
    run.append(better, arrays())
    assert run.results() == [better]


def test_a_damaged_line_is_named(tmp_path):
    run = RunFolder.create(tmp_path, PROVENANCE)
    (tmp_path / "results.jsonl").write_text('{"condition": {"atack": "fna"}}\n')
    with pytest.raises(InputError, match=r"results\.jsonl, line 1"):
        run.results()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no evaluation"),
        ("{", "not JSON"),
        ("[]", "is a list, expected an object"),
        (json.dumps({"schema": SCHEMA + 1}), f"schema {SCHEMA + 1}"),
        (json.dumps({"schema": SCHEMA, "title": "x"}), "damaged"),
    ],
)
def test_other_folders_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=message):
        RunFolder.open(tmp_path)


def test_arrays_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.npz is missing"):
        PerQuery.load(tmp_path / "gone.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"bad\.npz is not a file of PerQuery"):
        PerQuery.load(tmp_path / "bad.npz")
