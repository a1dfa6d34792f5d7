"""The script for an accelerator: its steps, its limits, and a rehearsal of all of it."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import above, told_to_stop

from jaxreid.cli.benchmark.group import benchmark

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"
ABSENT = ("tensorflow_datasets", "grain", "array_record", "ml_collections", "tensorboardX")
FIRST = [
    *("versions", "golden-attacks-gpu", "attack-gpu-fna-bfloat16", "attack-gpu-fna-float32"),
    *("ranking-gpu-market1501", "goat-gpu", "worst-query-gpu"),
]
REST = [
    *("attack-gpu-sma-bfloat16", "guides-gpu-market1501", "ranking-gpu-msmt17"),
    *("guides-gpu-msmt17", "attack-gpu-sma-float32", "attack-gpu-fna-float32-batch", "suite"),
]
WITH_GRAIN = [*REST[:4], "input-gpu", *REST[4:]]


def steps_of(out):
    return [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]


@pytest.fixture
def played(tmp_path):
    """Runs the script with another program in Python's place; gives its output and its commands."""

    def play(body, **variables):
        python, log, out = tmp_path / "python", tmp_path / "log", tmp_path / "out"
        log.write_text("")
        python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\n{body}\n')
        python.chmod(0o755)
        places = {"PYTHON": str(python), "OUT": str(out), "CARRIED": str(tmp_path / "none")}
        environment = {**os.environ, **places, **variables}
        environment.pop("TFDS_DATA_DIR", None)
        done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True)
        return done, out, log.read_text().splitlines()

    return play


def test_every_step_is_a_command_that_there_is(played, tmp_path):
    archive = tmp_path / "all.tar"
    done, out, commands = played("exit 0", ARCHIVE=str(archive))
    assert done.returncode == 0, done.stderr
    assert [step["step"] for step in steps_of(out)] == [*FIRST, *WITH_GRAIN]
    records = [command.split() for command in commands if "record.py" in command]
    assert len(records) == 12
    for _, path, name, *words in records:
        assert Path(path).parent == out
        context = benchmark.commands[name].make_context(name, list(words), parent=above())
        assert context.params["as_json"] is False
    listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True)
    assert {"./steps.jsonl", "./versions.log"} <= set(listed.stdout.split())


def test_a_rehearsal_asks_for_all_that_is_asked_for_later(played, tmp_path):
    """Only in numbers and names it is another one: no option meets an accelerator first."""
    compiler = tmp_path / "g++"
    compiler.touch(0o755)
    asked = {}
    for tiny in ("", "1"):
        *_, commands = played("exit 0", TINY=tiny, CXX=str(compiler), AGAIN="1")
        records = [command.split() for command in commands if "record.py" in command]
        asked[tiny] = [
            (Path(path).name, name, sorted(word for word in words if word.startswith("--")))
            for _, path, name, *words in records
        ]
    extra = {"--steps", "--images"}
    assert len(asked["1"]) == len(asked[""]) == 12
    for rehearsed, real in zip(asked["1"], asked[""], strict=True):
        assert rehearsed[:2] == real[:2]
        assert set(rehearsed[2]) - extra == set(real[2]) - extra
    assert sum("--torch-compile" in flags for *_, flags in asked["1"]) == 4
    assert sum("--auto-batch" in flags for *_, flags in asked["1"]) == 2


@pytest.mark.parametrize("tiny", ["1", ""])
def test_every_command_knows_whether_it_is_rehearsed(played, tmp_path, tiny):
    told = tmp_path / "told"
    # What stands in the environment otherwise does not count.
    played(f'echo "<$REHEARSAL>" >>{told}', TINY=tiny, REHEARSAL="other")
    said = told.read_text().split()
    assert said == [f"<{tiny}>"] * len(said)
    assert len(said) >= len([*FIRST, *WITH_GRAIN])


@pytest.mark.parametrize("stuck", ["nothing", "--torch-compile"])
def test_the_first_part_has_its_turn(played, tmp_path, stuck):
    (tmp_path / "bin").mkdir()
    stopwatch = tmp_path / "bin" / "timeout"  # of what uses up its limit
    stopwatch.write_text(
        f'#!/bin/sh\n[ "$2" = 4 ] || exit 1\necho $(($2 + $3)) >>{tmp_path}/limits\n'
        f'shift 3\n"$@"\ncase "$*" in *{stuck}*) exit 124;; esac\n'
    )
    stopwatch.chmod(0o755)
    _, out, _ = played("exit 0", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    budget = int(re.search(r"BUDGET:=(\d+)", SCRIPT.read_text(encoding="utf-8"))[1])
    names = [step["step"] for step in steps_of(out)]
    names = names[: names.index(FIRST[-1]) + 1]
    assert {name.removesuffix("-eager") for name in names} == set(FIRST)
    limits = [int(limit) + 1 for limit in (tmp_path / "limits").read_text().split()]
    # Where machines are lent, a command is killed after 600 s.
    assert sum(limits[: len(names)]) <= budget < 600


def test_who_fails_beside_compiled_rivals_runs_without_them(played):
    done, out, commands = played('case "$*" in *--torch-compile*|*golden*) exit 3;; esac')
    assert done.returncode == 2
    codes = {step["step"]: step["exit"] for step in steps_of(out)}
    failed = ["golden-attacks-gpu", "attack-gpu-fna-bfloat16"]
    assert [name for name, code in codes.items() if code] == failed
    assert codes["attack-gpu-fna-bfloat16-eager"] == codes["attack-gpu-fna-float32-eager"] == 0
    assert "attack-gpu-fna-float32" not in codes  # it would spend as long for nothing
    eager = next(command for command in commands if "bfloat16-eager" in command)
    assert "--attack fna" in eager
    assert "--torch-compile" not in eager


def test_who_fails_beside_any_rival_runs_alone(played):
    _, out, commands = played('case "$*" in *--no-rivals*) ;; *" attack "*) exit 3;; esac')
    codes = {step["step"]: step["exit"] for step in steps_of(out)}
    tried = ["attack-gpu-fna-bfloat16", "attack-gpu-fna-bfloat16-eager"]
    assert [name for name, code in codes.items() if code] == tried
    alone = [name for name in codes if name.endswith("-alone")]
    assert alone == [
        f"attack-gpu-{name}-alone"
        for name in ("fna-bfloat16", "fna-float32", "sma-bfloat16", "sma-float32")
    ]
    (command,) = (command for command in commands if "fna-bfloat16-alone" in command)
    assert "--no-rivals" in command
    assert "--torch-compile" not in command


def test_nothing_is_measured_without_an_accelerator(tmp_path):
    here = {"PYTHON": sys.executable, "OUT": str(tmp_path), "TEST_PLATFORM": "cpu"}
    environment = {**os.environ, **here}
    done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "JAX finds no accelerator here: it uses cpu" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["steps.jsonl", "versions.log"]


def test_jax_may_not_take_the_cpu_instead(played, tmp_path):
    # JAX fails where one of the platforms that are asked for does not start.
    wanted = tmp_path / "platforms"
    played(f'echo "$JAX_PLATFORMS" >>{wanted}', JAX_PLATFORMS="cpu", TEST_PLATFORM="cuda")
    assert set(wanted.read_text().split()) == {"cuda,cpu"}


# Writes the record that it is asked for.
WRITES = """case "$*" in
*record.py*|*golden*) for word; do case "$word" in *.json) echo {} >"$word";; esac; done;;
*junitxml*) for word; do case "$word" in *.xml) echo >"$word";; esac; done;;
esac
"""


def test_a_second_call_goes_on(played):
    fails = 'case "$*" in *" goat "*|*float32.json*--torch-compile*) exit 1;; esac'
    played(f"{fails}\n{WRITES}")
    done, out, commands = played(WRITES)
    assert done.returncode == 0
    assert done.stdout.count("done before") == len([*FIRST, *WITH_GRAIN]) - 2
    assert [step["step"] for step in steps_of(out)][-2:] == ["versions", "goat-gpu"]
    assert not any("golden" in command or "junitxml" in command for command in commands)
    # A result that is not there, or that a rehearsal left, is none; compiling is not tried again.
    (out / "guides-gpu-market1501.json").unlink()
    (out / "attack-gpu-sma-float32-eager.json").unlink()
    *_, commands = played(WRITES)
    assert [c.split()[2] for c in commands if "record.py" in c] == ["guides", "attack"]
    assert not any("--torch-compile" in command for command in commands)
    *_, commands = played(WRITES, AGAIN="1")
    assert len([c for c in commands if "record.py" in c]) == 12
    *_, commands = played(WRITES, TINY="1")
    assert len([c for c in commands if "record.py" in c]) == 12


def test_an_archive_may_lie_where_it_is_made_of(played, tmp_path):
    archive = tmp_path / "out" / "all.tar"
    archive.parent.mkdir()
    archive.write_bytes(b"of another call")
    played("exit 0", ARCHIVE=str(archive))
    listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True)
    assert {"./steps.jsonl", "./versions.log"} <= set(listed.stdout.split())
    assert "all.tar" not in listed.stdout


@pytest.mark.parametrize("tiny", ["", "1"])
def test_no_step_begins_without_time(played, tiny):
    done, out, commands = played("exit 0", BUDGET="10", TINY=tiny)
    assert done.returncode == 0
    assert "== versions: no time left" in done.stdout
    assert not (out / "steps.jsonl").exists()
    assert not any("record.py" in command for command in commands)


@pytest.mark.parametrize(("given", "limit"), [({}, 295), ({"BUDGET": "30"}, 25)])
def test_a_rehearsal_keeps_to_the_budget_that_is_given(played, tmp_path, given, limit):
    # Ten times the 30 s of the real step, or all that is left: less the 5 s of its end.
    asked = tmp_path / "asked"
    (tmp_path / "bin").mkdir()
    stopwatch = tmp_path / "bin" / "timeout"
    stopwatch.write_text(f'#!/bin/sh\necho "$3" >>{asked}\nshift 3\nexec "$@"\n')
    stopwatch.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    played("exit 0", TINY="1", PATH=path, **{"BUDGET": "", **given})
    assert limit - 2 <= int(asked.read_text().split()[0]) <= limit  # seconds pass


@pytest.mark.parametrize("budget", ["9m", "0", "-5", "a[0]"])
def test_a_budget_is_whole_seconds(played, budget):
    done, _, commands = played("exit 0", BUDGET=budget)
    assert (done.returncode, commands) == (2, [])
    assert done.stderr == f"BUDGET={budget}: expected whole seconds\n"


def alive(pid):
    """Whether a process runs; one that has ended may wait for whoever asks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_nobody_outlives_a_limit(played, tmp_path):
    # Ends at once when it is told to, and leaves one that does not listen.
    body = f"sh -c 'trap \"\" TERM; echo $$ >{tmp_path}/pid; while :; do sleep 1; done' & wait"
    begin = time.monotonic()
    _, out, _ = played(body, BUDGET="16")
    assert time.monotonic() - begin < 60
    assert [(step["step"], step["exit"]) for step in steps_of(out)] == [("versions", 124)]
    assert not alive(int((tmp_path / "pid").read_text()))


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
    said = told_to_stop(script, begun)
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
        "CARRIED": str(tmp_path / "none"),
        "TINY": "1",
    }
    done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    steps = [step["step"] for step in steps_of(tmp_path / "out")]
    assert steps == [*FIRST, *REST]
    versions = json.loads((tmp_path / "out" / "versions.json").read_text())
    assert versions["devices"]
    assert versions["rehearsal"] is True
    tables = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "tables.py")))
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    places = [place[1] for place in tables.PLACE.findall(page)]
    if find_spec("torch") and shutil.which("g++"):
        log = (tmp_path / "out" / "attack-gpu-fna-bfloat16.json").read_text()
        assert "PyTorch, at its best, compiled" in log
    for name in (step for step in steps if step not in ("versions", "suite")):
        record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert record["rehearsal"] is True
        assert tables.section(record).count("|") > 4
        assert sum(Path(f"{name}.json").match(f"{place}.json") for place in places) == 1, name
