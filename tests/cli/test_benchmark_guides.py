"""`jaxreid benchmark guides` prints a table or one JSON object."""

import json

import pytest

from jaxreid.cli import main


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "guides", *words])
    return end.value.code, capsys.readouterr()


def test_the_table(capsys):
    code, printed = run(capsys, "--size", "tiny", "--repeats", "1")
    assert code == 0
    assert "furthest other identity" in printed.out


def test_json(capsys):
    code, printed = run(capsys, "--size", "tiny", "--repeats", "1", "--json")
    assert code == 0
    assert len(json.loads(printed.out)["centroids"]["runs"]) == 1


def test_unknown_size_is_wrong_input(capsys):
    code, printed = run(capsys, "--size", "huge")
    assert code == 2
    assert "'huge' is not one of" in printed.err


def test_help_has_an_example(capsys):
    assert "jaxreid benchmark guides --size market1501" in run(capsys, "-h")[1].out
