"""What docs/datasets.md shows works."""

import re
import shlex
from pathlib import Path

import pytest
import trainings
from commands import run
from networks import drawn

from jaxreid.data import corruptions
from jaxreid.models import Pipeline, weights
from jaxreid.records import RunFolder

PAGE = Path(__file__).parent.parent / "docs" / "datasets.md"
SECTION = PAGE.read_text(encoding="utf-8").split("### All of them in one table\n")[1]
NAMES = {
    "market.safetensors": "cosine.safetensors",
    "market1501": "synthetic_reid/tiny",
    "$name": "fog",
    "$severity": "5",
}


def code_of(language):
    (block,) = re.findall(rf"```{language}\n(.*?)```", SECTION.split("\n## ")[0], re.DOTALL)
    for shown, here in NAMES.items():
        block = block.replace(shown, here)
    return block


@pytest.fixture
def place(tmp_path, tiny_data, monkeypatch):
    """A folder with a network that is compared by cosine, and the drawn people for TFDS."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny_data))
    said = Pipeline(filter="bicubic", distance="cosine", unit_length=True)
    model = drawn(trainings.SHAPE, classes=5, pipeline=said)
    weights.save(model, "cosine.safetensors", training_size=(64, 32))
    return tmp_path


def test_a_table_of_corruptions(place, capsys, monkeypatch):
    lines = code_of("sh").replace("\\\n", " ").splitlines()
    commands = [line.strip() for line in lines if line.strip().startswith("jaxreid ")]
    clean, foggy, report = (shlex.split(line)[1:] for line in commands)
    for words in (clean, foggy):
        assert run(capsys, *words)[0] == 0
    folders = ["runs/corrupted/clean", "runs/corrupted/fog-5"]
    assert [words[-1] for words in (clean, foggy)] == folders
    code, _, err = run(capsys, *(one.replace("*-*", "fog-5") for one in report))
    assert code == 0, err
    table = (place / "runs/corrupted-report/results.csv").read_text(encoding="utf-8")
    assert {line.partition(",")[0] for line in table.splitlines()[1:]} == {"clean", "fog:5"}
    (result,) = RunFolder.open(Path(folders[1])).results()
    figure = 100 * result.scores["market1501"].mean_average_precision
    # All twenty kinds take their time.
    monkeypatch.setattr(corruptions, "CORRUPTIONS", {"fog": corruptions.CORRUPTIONS["fog"]})
    exec(code_of("python"), {})
    head, row = capsys.readouterr().out.splitlines()
    assert head == "mAP in %,1,2,3,4,5"
    assert row.split(",")[0] == "fog"
    assert float(row.split(",")[5]) == pytest.approx(figure, abs=0.06)
