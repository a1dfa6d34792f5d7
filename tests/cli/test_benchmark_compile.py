"""`jaxreid benchmark compile` compiles in two processes, one after the other."""

import json

import pytest
from commands import ROOT

from jaxreid.cli import main

TINY = ["--architecture", "resnet_patch", "--size", "16x8", "--batch", "2"]


def run(words, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "compile", *words])
    return end.value.code, capsys.readouterr()


@pytest.mark.slow
def test_json(capsys, monkeypatch):
    code, printed = run([*TINY, "--json"], capsys, monkeypatch)
    assert code == 0, printed.err
    starts = json.loads(printed.out)
    assert list(starts) == ["empty cache", "filled cache"]
    for start in starts.values():
        assert 0 < start["compile_seconds"] < start["process_seconds"]


def test_an_error_of_the_process_is_told(capsys, monkeypatch):
    code, printed = run(["--architecture", "deit_tiny"], capsys, monkeypatch)
    assert code == 2
    assert "architecture: expected one of resnet18" in printed.err
