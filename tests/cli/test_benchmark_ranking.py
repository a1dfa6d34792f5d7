"""`jaxreid benchmark ranking` prints a table or one JSON object."""

import json

import pytest

from jaxreid.cli import main


def output_of(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "ranking", *words])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_table(capsys):
    text = output_of(["--size", "tiny", "--repeats", "1"], capsys)
    for line in ("product", "ranking", "argsort", "ranking / bare product:", "peak memory"):
        assert line in text


def test_json(capsys):
    words = ["--size", "tiny", "--repeats", "1", "--no-argsort", "--json"]
    result = json.loads(output_of(words, capsys))
    assert result["size"] == "tiny"
    assert set(result["seconds"]) == {"product", "ranking"}


def test_unknown_size_is_wrong_input(capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "ranking", "--size", "huge"])
    assert end.value.code == 2
    assert "'huge' is not one of" in capsys.readouterr().err
