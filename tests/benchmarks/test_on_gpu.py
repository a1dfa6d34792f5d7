"""The script for an accelerator: its steps, its limits, and a rehearsal of all of it."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import above

from jaxreid.cli.benchmark.group import benchmark

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"
ABSENT = ("tensorflow_datasets", "grain", "array_record", "ml_collections", "tensorboardX")
FIRST = [
    *("versions", "golden-attacks-gpu", "attack-gpu-fna-bfloat16", "attack-gpu-fna-float32"),
    *("ranking-gpu-market1501", "goat-gpu", "worst-query-gpu"),
]
REST = [
    *("attack-gpu-sma-bfloat16", "guides-gpu", "ranking-gpu-msmt17"),
    *("attack-gpu-fna-float32-batch", "suite"),
]


def steps_of(out):
    return [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]


@pytest.fixture
def played(tmp_path):
    """Runs the script with another program in Python's place; gives its output and its commands."""

    def play(body, **variables):
        python, log, out = tmp_path / "python", tmp_path / "log", tmp_path / "out"
        python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\n{body}\n')
        python.chmod(0o755)
        environment = {**os.environ, "PYTHON": str(python), "OUT": str(out), **variables}
        environment.pop("TFDS_DATA_DIR", None)
        done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True)
        return done, out, log.read_text().splitlines()

    return play


def test_every_step_is_a_command_that_there_is(played, tmp_path):
    archive = tmp_path / "all.tar"
    done, out, commands = played("exit 0", ARCHIVE=str(archive))
    assert done.returncode == 0, done.stderr
    assert [step["step"] for step in steps_of(out)] == [*FIRST, *REST, "input-gpu"]
    records = [command.split() for command in commands if "record.py" in command]
    assert len(records) == 10
    for _, path, name, *words in records:
        assert Path(path).parent == out
        context = benchmark.commands[name].make_context(name, list(words), parent=above())
        assert context.params["as_json"] is False
    listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True)
    assert {"./steps.jsonl", "./versions.log"} <= set(listed.stdout.split())


def test_the_first_part_has_its_turn():
    text = SCRIPT.read_text(encoding="utf-8")
    budget = int(re.search(r"BUDGET:=(\d+)", text)[1])
    part = text[text.index("# First part") : text.index("# What is left")]
    limits = dict(re.findall(r"^(?:step|record|compiled) ([\w-]+) (\d+) ", part, re.MULTILINE))
    assert list(limits) == FIRST
    assert sum(map(int, limits.values())) <= budget <= 720


def test_who_fails_beside_compiled_rivals_runs_without_them(played):
    done, out, commands = played('case "$*" in *--torch-compile*|*golden*) exit 3;; esac')
    assert done.returncode == 3
    codes = {step["step"]: step["exit"] for step in steps_of(out)}
    failed = ["golden-attacks-gpu", "attack-gpu-fna-bfloat16", "attack-gpu-fna-float32"]
    assert [name for name, code in codes.items() if code] == failed
    assert codes["attack-gpu-fna-bfloat16-eager"] == codes["attack-gpu-fna-float32-eager"] == 0
    eager = next(command for command in commands if "bfloat16-eager" in command)
    assert "--attack fna" in eager
    assert "--torch-compile" not in eager


def test_no_step_begins_without_time(played):
    done, out, commands = played("exit 0", BUDGET="10")
    assert done.returncode == 0
    assert "== versions: no time left" in done.stdout
    assert not (out / "steps.jsonl").exists()
    assert not any("record.py" in command for command in commands)


@pytest.mark.slow
def test_it_stops_at_its_limit(played):
    begin = time.monotonic()
    done, out, _ = played("exec sleep 600", BUDGET="16")
    assert time.monotonic() - begin < 120
    assert done.returncode == 1
    assert [(step["step"], step["exit"]) for step in steps_of(out)] == [("versions", 124)]
    assert "== golden-attacks-gpu: no time left" in done.stdout


def test_it_stops_when_it_is_told_to(tmp_path):
    python, begun, out = tmp_path / "python", tmp_path / "begun", tmp_path / "out"
    python.write_text(f"#!/bin/sh\ntouch {begun}\nexec sleep 600\n")
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python), "OUT": str(out)}
    script = subprocess.Popen(["bash", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        while not begun.exists():
            assert script.poll() is None
            time.sleep(0.05)
        script.send_signal(signal.SIGTERM)
        said, _ = script.communicate(timeout=60)
    finally:
        script.kill()
    assert script.returncode == 1
    assert [step["step"] for step in steps_of(out)] == ["versions"]
    assert "== suite: no time left" in said


@pytest.mark.slow
def test_a_rehearsal_without_what_reads_datasets(tmp_path):
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(
        "import sys\n\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {ABSENT}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(tmp_path / "blocked"),
        "OUT": str(tmp_path / "out"),
        "TINY": "1",
    }
    done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    steps = [step["step"] for step in steps_of(tmp_path / "out")]
    assert steps == [*FIRST, *REST]
    assert json.loads((tmp_path / "out" / "versions.json").read_text())["devices"]
    tables = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "tables.py")))
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    places = [place[1] for place in tables.PLACE.findall(page)]
    for name in (step for step in steps if step not in ("versions", "suite")):
        record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert tables.section(record).count("|") > 4
        assert sum(Path(f"{name}.json").match(f"{place}.json") for place in places) == 1, name
