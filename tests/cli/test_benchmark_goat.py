"""`jaxreid benchmark goat` prints a table or one JSON object."""

import dataclasses
import json

import pytest

from jaxreid.benchmark import training
from jaxreid.cli import main
from jaxreid.models import ARCHITECTURES

FEW = {name: training.VARIANTS[name] for name in ("plain", "GOAT (4,1)")}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    config = dataclasses.replace(ARCHITECTURES["resnet_patch"], depths=(1,), widths=(4,))
    monkeypatch.setitem(ARCHITECTURES, "tiny", config)
    monkeypatch.setattr(training, "VARIANTS", FEW)


def output_of(words, capsys):
    tiny = ("--architecture", "tiny", "--size", "16x8", "--batch", "4", "--repeats", "1")
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "goat", *tiny, *words])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_table(capsys):
    text = output_of([], capsys)
    for words in ("ms per", "x sum of", "GOAT (4,1)", "forward"):
        assert words in text


@pytest.mark.slow
def test_json(capsys):
    printed = json.loads(output_of(["--json"], capsys))
    assert set(printed["timings"]) == {"forward", "image gradient", *FEW}
    assert set(printed["predicted"]) == set(FEW)
