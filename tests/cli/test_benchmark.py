"""`jaxreid benchmark ranking` and `guides` print a table or JSON."""

import json

import pytest

from jaxreid.cli import main


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", *words])
    return end.value.code, capsys.readouterr()


def test_ranking(capsys):
    code, printed = run(capsys, "ranking", "--size", "tiny", "--repeats", "1")
    assert code == 0
    assert "ranking / bare product" in printed.out
    code, printed = run(capsys, "ranking", "--size", "tiny", "--repeats", "1", "--json")
    assert json.loads(printed.out)["size"] == "tiny"


def test_guides(capsys):
    code, printed = run(capsys, "guides", "--size", "tiny", "--repeats", "1")
    assert code == 0
    assert "furthest other identity" in printed.out
    code, printed = run(capsys, "guides", "--size", "tiny", "--repeats", "1", "--json")
    assert "centroids" in json.loads(printed.out)


def test_wrong_input_exits_with_two(capsys):
    code, printed = run(capsys, "ranking", "--size", "huge")
    assert code == 2
    assert "huge" in printed.err
    code, printed = run(capsys, "rankin")
    assert code == 2
    assert "rankin" in printed.err


@pytest.mark.parametrize("command", ["ranking", "guides"])
def test_help_has_an_example(capsys, command):
    assert f"jaxreid benchmark {command} --size market1501" in run(capsys, command, "-h")[1].out
