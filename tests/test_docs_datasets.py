"""What docs/datasets.md shows works."""

import re
import shlex
from pathlib import Path

import pytest
import trainings
from commands import run
from networks import drawn

from jaxreid.models import Pipeline, weights
from jaxreid.records import CorruptionRecord, RunFolder

PAGE = Path(__file__).parent.parent / "docs" / "datasets.md"
SECTION = PAGE.read_text(encoding="utf-8").split("### All of them in one table\n")[1]
NAMES = {
    "plain.safetensors": "cosine.safetensors",
    "goat.safetensors": "cosine.safetensors",
    "market1501": "synthetic_reid/tiny",
    '["fog", "rain"]': '["fog"]',
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


@pytest.mark.slow
def test_a_table_of_corruptions(place, capsys):
    lines = code_of("sh").replace("\\\n", " ").splitlines()
    plain, goat = (shlex.split(line)[1:] for line in lines)
    few = ("--kinds", "fog", "--severities", "5")
    assert run(capsys, *plain, *few)[0] == 0
    code, out, err = run(capsys, *goat, *few)
    assert code == 0, err
    assert "mean corruption error 1.000" in out
    record = CorruptionRecord.load(place / "runs/goat-corrupted/corruptions.json")
    shown = re.search(r"`(jaxreid evaluate MODEL [^`]*)`", SECTION)[1]
    words = [NAMES.get(word, word) for word in shlex.split(shown)[1:]]
    words[1], words[words.index("fog:3")], words[-1] = "cosine.safetensors", "fog:5", "clean"
    assert run(capsys, *words, "--out", "foggy")[0] == 0
    (result,) = RunFolder.open(Path("foggy")).results()
    assert result.scores == record.levels[0].scores
    exec(code_of("python"), {})
    first = capsys.readouterr().out.splitlines()[-1].split()
    assert float(first[1]) == pytest.approx(result.scores["market1501"].rank1)
