"""Records of evaluations: what is written comes back, whatever interrupts."""

import dataclasses
import json
import os

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
        "as_paper": True,
        "attacked_gallery": True,
        "knowledge": "guides",
        "goal": "impersonate",
        "target": "random",
        "boost": "mi+di",
        "surrogate": "other-0a1b2c3d",
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


def one_run(tmp_path):
    run = RunFolder.create(tmp_path, PROVENANCE)
    for attack in ("clean", "fna", "sma"):
        run.append(result(attack=attack, eps=5.0), arrays())
    return run, tmp_path / "results.jsonl"


def test_every_beginning_of_a_line_counts_as_cut_off_and_is_counted(tmp_path, kind):
    run, lines = one_run(tmp_path)
    whole = lines.read_text().splitlines()
    for length in range(1, len(whole[1])):
        lines.write_text("\n".join([whole[0], whole[1][:length], whole[2], ""]))
        assert [one.condition.attack for one in run.results()] == ["clean", "sma"], length
        assert run.cut_off() == 1
    lines.write_text("\n".join(whole)[:-7])
    assert (len(run.results()), run.cut_off()) == (2, 1)
    lines.write_text("\n".join(whole))
    assert (len(run.results()), run.cut_off()) == (3, 0)
    kind("results.jsonl with a line that a kill cut off", "skipped, and `report` says how many")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line[:50] + b"\0" * 20 + line[70:],
        lambda line: b"\0" * len(line),
        lambda line: line[:50] + b"\xff" + line[51:],
        lambda line: line[50:],
        lambda line: b"[" * 100_000,
        lambda line: b'{"a":' * 100_000,
        lambda line: line.replace(b"}", b"]", 1),
        lambda line: b"{}",
        lambda line: b"null",
        lambda line: b'{"attacked": ' + b"9" * 5000 + b"}",
    ],
    ids=range(10),
)
def test_damage_is_no_interruption(tmp_path, spoil, kind):
    run, lines = one_run(tmp_path)
    first, second, third, _ = lines.read_bytes().split(b"\n")
    for content in ([first, spoil(second), third, b""], [first, second, spoil(third)]):
        lines.write_bytes(b"\n".join(content))
        for read in (run.results, run.cut_off):
            with pytest.raises(
                InputError, match=r"results\.jsonl, line [23] cannot be read"
            ) as said:
                read()
        assert len(str(said.value)) < 400
    kind("results.jsonl with a damaged line", str(said.value).replace(str(tmp_path), "RUN"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("condition", [], "condition is [], expected an object"),
        ("condition", {}, "condition.attack is missing"),
        ("condition/eps", "5", "condition.eps is '5', expected a number"),
        ("condition/eps", True, "condition.eps is True, expected a number"),
        ("condition/eps", float("nan"), "condition.eps is nan, expected a finite number"),
        ("condition/eps", 10**400, "condition.eps is inf, expected a finite number"),
        ("condition/eps", -1, "condition.eps is -1.0, expected a number from 0"),
        ("condition/steps", 1.5, "condition.steps is 1.5, expected a whole number"),
        ("condition/steps", 1 << 64, "expected a whole number of at most 63 bits"),
        ("condition/norm", "l3", "condition.norm is 'l3', expected one of 'linf', 'l2'"),
        ("condition/eight_bit", 1, "condition.eight_bit is 1, expected true or false"),
        ("condition/attack", "a\nb", "is no name of an attack"),
        ("condition/of_tomorrow", 1, "condition.of_tomorrow is no field that this version"),
        ("scores", {}, "expected a protocol at least"),
        ("scores/market1501", 0.5, "scores.market1501 is 0.5, expected an object"),
        (
            "scores/market1501/rank1",
            1.5,
            "scores.market1501.rank1 is 1.5, expected a number from 0",
        ),
        ("scores/market1501/rank1", None, "scores.market1501.rank1 is None"),
        ("reranked", "x", "reranked is 'x', expected an object"),
        ("attacked", [2], "attacked is [2], expected a whole number"),
    ],
)
def test_fields_of_another_type_are_named(tmp_path, path, value, message, kind):
    run, lines = one_run(tmp_path)
    fields = json.loads(lines.read_text().splitlines()[1])
    *above, last = path.split("/")
    place = fields
    for name in above:
        place = place[name]
    place[last] = value
    lines.write_text(json.dumps(fields) + "\n")
    with pytest.raises(InputError) as said:
        run.results()
    assert message in str(said.value)
    assert "results.jsonl, line 1" in str(said.value)
    kind("a field of another type in results.jsonl", f"exit 2: ...{message}")


def test_fields_that_are_younger_than_a_line_take_their_defaults(tmp_path):
    run, lines = one_run(tmp_path)
    fields = json.loads(lines.read_text().splitlines()[1])
    for name in ("reranked", "unguided"):
        del fields[name]
    del fields["condition"]["eight_bit"]
    lines.write_text(json.dumps(fields))
    assert run.results() == [result(attack="fna", eps=5.0)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("title", ["x"], "title is ['x'], expected a text"),
        ("model", "resnet", "model is 'resnet', expected an object"),
        ("versions", {"jax": 1}, "versions.jax is 1, expected a text"),
        ("of_tomorrow", 1, "of_tomorrow is no field"),
        ("schema", True, "has schema True"),
    ],
)
def test_a_damaged_run_is_named(tmp_path, name, value, message):
    run, _ = one_run(tmp_path)
    fields = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**fields, name: value}))
    with pytest.raises(InputError) as said:
        RunFolder.open(run.path)
    assert message in str(said.value)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"9" * 5000, b"", b"\0" * 99])
def test_what_is_no_json_is_said(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json is (damaged|not JSON)"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "results.jsonl"])
@pytest.mark.parametrize("special", [os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_pipes_and_devices_are_not_read(tmp_path, name, special):
    run, _ = one_run(tmp_path)
    (tmp_path / name).unlink()
    special(tmp_path / name)
    with pytest.raises(InputError, match=r"jsonl? cannot be read: it is no regular file"):
        RunFolder.open(run.path).results()


def test_a_path_that_cannot_be_read_is_bad_input(tmp_path):
    (tmp_path / "run.json").mkdir()
    for path in (tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be read"):
            RunFolder.open(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("market1501", None, "missing 1 required"),
        ("market1501", np.zeros(3), r"market1501 has shape \(3,\), where Q is 2"),
        ("market1501", np.zeros((2, 2)), r"expected \[Q\]"),
        ("identities", np.zeros(2), "identities is float64"),
        ("valid", np.array(["a", "b"]), "valid is <U1"),
        ("identities", np.array([None, 1], object), "allow_pickle"),
        ("extra", np.zeros(2), "unexpected keyword"),
    ],
)
def test_arrays_of_another_form_are_named(tmp_path, name, value, message):
    fields = {f.name: getattr(arrays(), f.name) for f in dataclasses.fields(PerQuery)}
    fields = {n: v for n, v in {**fields, name: value}.items() if v is not None}
    np.savez(tmp_path / "x.npz", **fields)
    with pytest.raises(InputError, match=rf"x\.npz is not a file of PerQuery: .*{message}"):
        PerQuery.load(tmp_path / "x.npz")


def test_a_file_that_claims_to_unpack_to_gigabytes_is_refused(tmp_path, monkeypatch):
    arrays(50).save(tmp_path / "x.npz")
    monkeypatch.setattr("jaxreid.records.arrays._LARGEST", 1000)
    with pytest.raises(
        InputError, match=r"x\.npz is not a file of PerQuery: it would unpack to [23],"
    ):
        PerQuery.load(tmp_path / "x.npz")


def test_arrays_that_are_damaged_are_told_from_whole_and_missing_ones(tmp_path):
    run, _ = one_run(tmp_path)
    conditions = {one.condition.attack: one.condition for one in run.results()}
    assert run.damaged() == []
    run.arrays_of(conditions["clean"]).unlink()
    assert run.damaged() == []
    file = run.arrays_of(conditions["fna"])
    file.write_bytes(file.read_bytes()[:-30])
    run.map_of(conditions["sma"]).parent.mkdir()
    run.map_of(conditions["sma"]).write_bytes(b"")
    assert run.damaged() == [conditions["fna"], conditions["sma"]]
