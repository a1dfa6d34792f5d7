"""`jaxreid benchmark train` runs the loop and keeps nothing; `data` times its input."""

import dataclasses
import json

import jax
import pytest
from commands import run

from jaxreid.benchmark import data
from jaxreid.benchmark.timing import Timing
from jaxreid.models import ARCHITECTURES

SMALL = [
    "--config.model.architecture=tiny",
    "--config.dataset.name=synthetic_reid/tiny",
    "--config.dataset.size=(16,8)",
    "--config.batch.size=8",
    "--config.log_every_steps=2",
]


@pytest.mark.slow
def test_the_table_and_json(capsys, monkeypatch, tmp_path, tiny_data):
    tiny = dataclasses.replace(ARCHITECTURES["resnet_patch"], depths=(1,), widths=(4,))
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, f"--config.dataset.data_dir={tiny_data}", "--preset", "synthetic"]
    code, out, err = run(capsys, "benchmark", "train", *[*words, "--preset", "synthetic:goat=sma"])
    assert code == 0, err
    rows = [line.split("│")[1:-1] for line in out.splitlines() if "│ synthetic" in line]
    assert [row[0].strip() for row in rows] == ["synthetic", "synthetic:goat=sma"]
    assert rows[0][3].strip() == "1.00"
    code, out, err = run(capsys, "benchmark", "train", *[*words, "--json"])
    assert code == 0, err
    speed = json.loads(out)["synthetic"]
    assert len(speed["images_per_second"]) == len(speed["waiting"]) >= 3
    assert all(value > 0 for value in speed["images_per_second"])
    assert all(0 <= share <= 1 for share in speed["waiting"])
    assert speed["first_step"] > 0
    code, out, err = run(capsys, "benchmark", "train", *[*words, "--count", "--json"])
    assert code == 0, err
    cost = json.loads(out)["synthetic"]
    assert (cost["processes"], cost["devices"]) == (1, jax.device_count())
    assert cost["flops"] > 0
    assert cost["program_bytes"] > 0
    code, out, err = run(capsys, "benchmark", "train", *[*words, "--count"])
    (row,) = [line.split("│")[1:-1] for line in out.splitlines() if "│ synthetic" in line]
    assert [cell.strip() for cell in row[1:4]] == ["1", str(jax.device_count()), "8"]
    assert float(row[4]) == pytest.approx(cost["flops"] / 1e9, abs=1e-3)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr(data, "IMAGE_SIZE", (16, 8))
    monkeypatch.setattr(data, "_has_torch", lambda: False)


@pytest.mark.slow
def test_the_table_of_input(little, capsys):
    words = ("--images", "64", "--repeats", "1", "--workers", "1")
    code, out, err = run(capsys, "benchmark", "data", *words)
    assert code == 0, err
    title = " ".join(out[: out.index("┏")].split())
    assert title.startswith("64 JPEGs, resized to 256x128, batches of 64; 64 images per run")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    rows = [row for row in rows if row]
    assert [row[0] for row in rows] == [
        "PIL loop, one process",
        "jaxreid, threads",
        "jaxreid, 1 processes",
        "jaxreid, cache",
    ]
    assert rows[0][2] == "1.0"
    assert out.endswith("PyTorch DataLoader: left out, torch is not installed\n")


def test_json_of_input(monkeypatch, capsys):
    timed = data.InputTimings(64, {"jaxreid, threads": Timing(2.0, (1.0, 3.0))}, {})
    monkeypatch.setattr(data, "generated_split", lambda *_, **__: [])
    monkeypatch.setattr(data, "time_input", lambda *_, **__: timed)
    code, out, err = run(capsys, "benchmark", "data", "--images", "64", "--json")
    assert code == 0, err
    timings = {"jaxreid, threads": {"first": 2.0, "runs": [1.0, 3.0]}}
    assert json.loads(out) == {"images": 64, "timings": timings, "missing": {}}
