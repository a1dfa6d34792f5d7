"""Run folders: figures of one model, dataset and setting stand together, others are refused."""

import errno
import json
import os
import tempfile
from pathlib import Path

import people
import pytest

from jaxreid.errors import InputError
from jaxreid.evaluation import describe_dataset, open_run, provenance_of
from jaxreid.records import SCHEMA

SPLITS = {"query": "query", "gallery": "gallery"}


def provenance(**changes):
    sources = {"query": people.query(), "gallery": people.gallery()}
    fields = {
        "title": "a run",
        "command": "jaxreid evaluate a",
        "model": {"weights": "a.safetensors", "sha256": "aaaaaaaaaaaaaaaa"},
        "dataset": describe_dataset("synthetic_reid/tiny", SPLITS, sources),
        "settings": {"size": (16, 8), "flip": False},
    }
    return provenance_of(**{**fields, **changes})


def test_what_is_said():
    said = provenance()
    assert said.dataset["name"] == "synthetic_reid"
    assert said.dataset["config"] == "tiny"
    assert said.dataset["images"] == {"query": 9, "gallery": 14}
    assert said.dataset["identities"] == {"query": 4, "gallery": 5}
    assert said.dataset["cameras"] == 4
    assert said.versions["jaxreid"]
    assert said.devices.startswith("4 x ")


def test_the_same_again_keeps_all_commands(tmp_path):
    first = open_run(tmp_path, provenance())
    again = open_run(tmp_path, provenance(command="jaxreid evaluate a --eps 8"))
    assert again.provenance.created == first.provenance.created
    assert again.provenance.command.splitlines() == [
        "jaxreid evaluate a",
        "jaxreid evaluate a --eps 8",
    ]
    third = open_run(tmp_path, provenance())
    assert third.provenance.command == again.provenance.command


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"sha256": "bbbbbbbbbbbbbbbb"}},
            "model sha256 is aaaaaaaaaaaa..., now bbbbbbbbbbbb...",
        ),
        ({"settings": {"size": (16, 8), "flip": True}}, "settings flip is False, now True"),
        ({"settings": {"size": (8, 8), "flip": False}}, r"size is \[16, 8\], now \[8, 8\]"),
        ({"dataset": {"name": "market1501"}}, "dataset name is 'synthetic_reid', now 'market1501'"),
    ],
)
def test_figures_of_something_else_are_refused(tmp_path, changes, message):
    open_run(tmp_path, provenance())
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(InputError, match=message):
        open_run(tmp_path, provenance(**changes))
    assert (tmp_path / "run.json").read_bytes() == before


def test_the_same_weights_under_another_name_are_the_same_model(tmp_path):
    open_run(tmp_path, provenance())
    open_run(tmp_path, provenance(model={"weights": "b", "sha256": "aaaaaaaaaaaaaaaa"}))


def test_another_preparation_has_another_hash():
    sources = {"query": people.query(), "gallery": people.gallery()}
    one = describe_dataset("x", SPLITS, sources)
    other = describe_dataset("x", SPLITS, {**sources, "query": people.split(7, [1], [0])})
    assert one["sha256"] != other["sha256"]
    assert one == describe_dataset("x", SPLITS, sources)
    # The same bytes, read as they are stored, may be other images.
    sources["query"].upright = False
    assert describe_dataset("x", SPLITS, sources)["sha256"] != one["sha256"]


def test_figures_that_nothing_tells_the_origin_of_are_refused(tmp_path, kind):
    (tmp_path / "results.jsonl").touch()
    with pytest.raises(InputError, match=r"and no run\.json, which says what") as said:
        open_run(tmp_path, provenance())
    assert not (tmp_path / "run.json").exists()
    kind("evaluate --out where run.json was deleted", f"exit 2; {said.value}")


def test_another_schema_is_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(InputError, match=f"schema {SCHEMA + 1}"):
        open_run(tmp_path, provenance())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "run", Path("/proc/nothing/run")):
        with pytest.raises(InputError, match=f"cannot write to {path}"):
            open_run(path, provenance())


def test_a_full_disk_is_no_wrong_input(tmp_path, monkeypatch):
    def full(*words, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(OSError, match="No space left on device"):
        open_run(tmp_path / "run", provenance())
