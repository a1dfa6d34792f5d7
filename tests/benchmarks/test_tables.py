"""Pages with figures hold what the records say, and every benchmark's result has a table."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxreid.benchmark.attack import AttackTimings
from jaxreid.benchmark.compilation import Start
from jaxreid.benchmark.data import InputTimings
from jaxreid.benchmark.ranking import RankingBenchmark
from jaxreid.benchmark.surrogates import SurrogatesBenchmark
from jaxreid.benchmark.timing import Ceilings, Timing
from jaxreid.benchmark.training import TrainingTimings
from jaxreid.benchmark.training_loop import LoopSpeed
from jaxreid.benchmark.worst import WorstTimings
from jaxreid.cli.benchmark.group import benchmark

ROOT = Path(__file__).parents[2]
tables = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "tables.py")))

FAST, SLOW = Timing(4.0, (1.0, 3.0, 2.0))._asdict(), Timing(5.0, (2.0, 3.0, 8.0))._asdict()
RESULTS = {
    "attack": AttackTimings(
        timings={"jaxreid": FAST, "PyTorch": SLOW},
        batch_size=16,
        steps=15,
        devices=1,
        flops=10**9,
        bytes=10**8,
        ceilings=Ceilings(240e9, 1e9)._asdict(),
        compile_seconds=3.0,
        program_flops=1e9,
        program_bytes=430_000_000,
        agreement={},
        missing={},
    )._asdict(),
    "compile": {"first": Start(4.3, 9.0)._asdict()},
    "data": InputTimings(100, {"PIL": SLOW, "jaxreid": FAST}, {})._asdict(),
    "families": {
        "rows": [
            {
                "name": "vit_base --stride 12",
                "result": {
                    "timings": {
                        "jaxreid": FAST,
                        "PyTorch, as the paper's code": FAST,
                        "PyTorch, at its best": SLOW,
                        "PyTorch, at its best, compiled": Timing(9.0, (4.0, 4.5, 4.0))._asdict(),
                    },
                    "batch_size": 16,
                    "steps": 3,
                    "agreement": {"PyTorch, at its best": 1e-6, "the other": 2e-7},
                },
            },
            {
                "name": "resnet50",
                "result": {
                    "timings": {"jaxreid": FAST},
                    "batch_size": 16,
                    "steps": 3,
                    "agreement": {},
                },
            },
        ]
    },
    "defenses": {
        "columns": ["", "clean", "mean worst case"],
        "cells": [["**goat**", "74.0 / 81.0", "34.2 / 32.5"]],
        "closing": "Every row sees 38,400 images.",
    },
    "goat": TrainingTimings(
        {"plain": FAST, "GOAT (4,1)": SLOW, "forward": FAST},
        32,
        {"plain": 2.0, "GOAT (4,1)": 6.0},
        {"plain": 400_000_000, "GOAT (4,1)": 1_234_000_000},
    )._asdict(),
    "guides": {"all guides": FAST},
    "ranking": RankingBenchmark(
        "tiny", {"ranking": 1.25}, {}, 1.29, None, 2_000_000, "device", 5
    )._asdict(),
    "surrogates": SurrogatesBenchmark(
        "tiny", "resnet18", 16, 7, {"network": SLOW, "margin": FAST}, {"margin": 0.012}
    )._asdict(),
    "train": {"synthetic": LoopSpeed((100.0, 300.0), (0.01, 0.03), 4.0)._asdict()},
    "worst": WorstTimings(
        {"network alone": FAST, "annealed ap": SLOW}, {"annealed ap": 31}, 10, "tiny", 7
    )._asdict(),
}


PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in tables.PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_up_to_date(name):
    assert tables.rewritten(PAGES[name], ROOT / "docs" / "benchmarks") == PAGES[name]


def test_every_record_has_its_place():
    patterns = [place[1] for page in PAGES.values() for place in tables.PLACE.findall(page)]
    for path in (ROOT / "docs" / "benchmarks").iterdir():
        assert sum(Path(path.stem).match(pattern) for pattern in patterns) == 1, path.name


def test_every_benchmark_has_a_table():
    # Families are measured by a script of many commands.
    assert set(tables.TABLES) == {*benchmark.commands, "families"} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("attack", "| PyTorch | 80.0 | 3.000 | 2.00 | 5.0 |"),
        ("compile", "| first | 4.3 |"),
        ("data", "| jaxreid | 50 | 2.00 |"),
        (
            "families",
            "| vit_base, stride 12 | 24.00 | 16.00 | 12.00 | 2.00 (1.00 to 4.00) | 1e-06 |",
        ),
        ("families", "| resnet50 | 24.00 | | | | |"),
        ("defenses", "| **goat** | 74.0 / 81.0 | 34.2 / 32.5 |"),
        ("goat", "| GOAT (4,1) | 3,000 | 11 | 2.00 | 1.00 | 0.50 | 1,234 |"),
        ("guides", "| all guides | 2000.0 | 4,000 |"),
        ("ranking", "| tiny | 1.25 | 1.29 | not run | 2 MB of the device |"),
        ("surrogates", "| margin | 2,000.0 | 1.2% |"),
        ("train", "| synthetic | 200 | 2.0% |"),
        ("worst", "| annealed ap | 31 | 300.00 | 0.05 | 5.0 |"),
    ],
)
def test_a_result_becomes_a_table(name, row, tmp_path):
    record = {
        "date": "2026-11-28",
        "machine": "a machine",
        "versions": {"jax": "0.10.2"},
        "commands": [f"jaxreid benchmark {name}"],
        "benchmark": name,
        "result": json.loads(json.dumps(RESULTS[name])),
    }
    (tmp_path / f"{name}-here.json").write_text(json.dumps(record))
    page = f"before\n<!-- records: {name}-* -->\nstale\n<!-- end -->\nafter\n"
    fresh = tables.rewritten(page, tmp_path)
    assert f"*2026-11-28, a machine; jax 0.10.2.* `jaxreid benchmark {name}`" in fresh
    assert row in fresh.splitlines()
    assert "stale" not in fresh
    assert fresh.startswith("before\n")
    assert fresh.endswith("<!-- end -->\nafter\n")
    assert tables.rewritten(fresh, tmp_path) == fresh


def test_a_share_of_the_roofline():
    # 16 x 15 / 2 s = 120 per second; a step takes 1/240 s of arithmetic and 1/10 s of memory.
    (_, _, closing) = tables.attack(RESULTS["attack"] | {"batches": {"1": {"16": 120.0}}})
    assert "120 GFLOP/s, 50% of what a bare matrix product reached" in closing
    assert "in the same run (240), 1200% of the roofline, and 430 MB" in closing
    assert closing.endswith("Images x steps per second by batch: 16: 120.0.")
    (_, _, closing) = tables.attack(RESULTS["attack"] | {"devices": 2})
    # What the ceilings are of.
    assert "120 GFLOP/s, 50% of what" in closing
    assert closing.endswith("430 MB of memory beside weights and images on each of 2 devices.")
    missing = {"bytes": None, "missing": {"Foolbox": "it is not installed"}}
    (_, _, closing) = tables.attack(RESULTS["attack"] | missing)
    assert "50% of the roofline" in closing  # bytes were not counted: of the arithmetic
    assert closing.endswith(" Foolbox: left out, it is not installed.")


def test_what_nobody_measured_is_said(tmp_path):
    assert "Not measured yet." in tables.rewritten("<!-- records: x -->\n<!-- end -->", tmp_path)


@pytest.mark.parametrize("words", [(), ("--check",)])
def test_a_record_of_a_rehearsal_is_refused(tmp_path, words):
    (tmp_path / "benchmarks").mkdir()
    script = shutil.copy(ROOT / "benchmarks" / "tables.py", tmp_path / "benchmarks")
    record = tmp_path / "docs" / "benchmarks" / "guides-gpu-here.json"
    record.parent.mkdir(parents=True)
    page = "# A page\n\n<!-- records: other -->\n<!-- end -->\n"
    for name in tables.PAGES:
        (tmp_path / "docs" / name).write_text(page)
    # In the last one: no page before it may be rewritten.
    last = tmp_path / "docs" / tables.PAGES[-1]
    last.write_text(page.replace("other", "guides-gpu-*"))
    about = {"date": "2026-11-28", "machine": "a machine", "versions": {}, "commands": ["a"]}
    about |= {"benchmark": "guides", "result": json.loads(json.dumps(RESULTS["guides"]))}
    before = {path: path.read_text() for path in last.parent.glob("*.md")}

    record.write_text(json.dumps({**about, "rehearsal": True}))
    command = [sys.executable, script, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{record}: a rehearsal wrote it")
    assert done.stderr.count("\n") == 1
    assert {path: path.read_text() for path in before} == before

    # The same one of a measurement becomes a table.
    record.write_text(json.dumps(about))
    done = subprocess.run(command[:2], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| all guides | 2000.0 | 4,000 |" in last.read_text()


@pytest.mark.slow
def test_a_measurement_is_recorded(tmp_path):
    path = tmp_path / "ranking-here.json"
    words = [str(path), "ranking", "--size", "tiny", "--repeats", "1"]
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / "record.py"), *words], check=True)
    record = json.loads(path.read_text())
    assert record["commands"] == ["jaxreid benchmark ranking --size tiny --repeats 1"]
    assert record["versions"]["jax"]
    assert "| tiny |" in tables.section(record)
