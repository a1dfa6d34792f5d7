"""Who stops a script stops the command that it runs, and what is measured stays on the disk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import told_to_stop

FOLDER = Path(__file__).parents[2] / "benchmarks"

# In place of what is measured: the first run ends at once, the second waits until it is told to.
COMMAND = """
import json, pathlib, signal, sys, time

first, second = pathlib.Path({folder!r}, "first"), pathlib.Path({folder!r}, "second")
if not first.exists():
    first.touch()
    errors = {{"features": {{"a": 1.0}}, "gradient": {{"a": 1.0}}}}
    machine = {{"date": "2026-11-28", "device": "cpu", "devices": 1, "processor": "a processor"}}
    machine |= {{"python": "3.11.2", "versions": {{}}}}
    print(json.dumps({{"float64": errors, "float32": errors, "machine": machine}}))
    sys.exit()
assert not second.exists()
signal.signal(signal.SIGTERM, lambda *_: (first.with_name("told").touch(), sys.exit({code})))
second.touch()
time.sleep(600)
"""

# How each script, imported as `script`, is made to run that, and with which words.
RUNS = {
    "record": ("script.JAXREID = [sys.executable, COMMAND]", "x.json ranking"),
    "carry": (
        "run = script.JAXREID = [sys.executable, COMMAND]; script.pip_command = lambda *_: run",
        "made",
    ),
    "families": (
        "script.JAXREID = [sys.executable, COMMAND]",
        "x.json --only osnet_x0_25,osnet_x1_0,resnet50",
    ),
    "golden_models": ("script.__file__ = COMMAND", "x.json --work work"),
    "worst_case": (
        "script.ROOT = pathlib.Path(COMMAND).parents[1]",
        "x.json --network a=a.safetensors --parts objectives --work work",
    ),
}


@pytest.fixture
def stopped(tmp_path):
    """Runs a script until its second command waits and tells it to stop; gives its exit code."""

    def run(name, *, code):
        command = tmp_path / "benchmarks" / "objectives.py"
        command.parent.mkdir()
        command.write_text(COMMAND.format(folder=str(tmp_path), code=code))
        prepare, words = RUNS[name]
        if name == "record":  # it has only one
            (tmp_path / "first").touch()
        runs = (
            f"import pathlib, sys; sys.path.insert(0, {str(FOLDER)!r})\n"
            f"import {name} as script; COMMAND = {str(command)!r}; {prepare}\n"
            f"sys.argv = {['x.py', *words.split()]!r}; script.main()"
        )
        script = subprocess.Popen(
            [sys.executable, "-c", runs],
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
        )
        told_to_stop(script, tmp_path / "second")
        assert (tmp_path / "told").exists()
        return script.returncode

    return run


@pytest.mark.parametrize("name", RUNS)
def test_the_command_stops_with_the_script(stopped, tmp_path, name):
    assert stopped(name, code=75) == 75
    # What the first command found, and nothing else.
    found = [json.loads(path.read_text()) for path in tmp_path.rglob("*.json*")]
    assert len(found) == (name not in ("record", "carry"))
    assert not (tmp_path / "made").exists()
    assert not list(tmp_path.rglob("*.part*"))


def test_a_script_that_was_stopped_did_not_end_well(stopped):
    """Even where its command did: what the script had still to do is not done."""
    assert stopped("families", code=0) == 128 + signal.SIGTERM


def test_a_command_that_fails_ends_the_script(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    import record

    assert record.printed([sys.executable, "-c", "print(1)"]) == "1\n"
    for end, code in (("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)):
        command = [sys.executable, "-c", f"import os, sys; print(1, flush=True); {end}"]
        assert record.finished(command) == (code, "1\n")
        with pytest.raises(SystemExit) as ended:
            record.printed(command)
        assert ended.value.code == code
        assert capsys.readouterr().err.startswith(f"exit code {code}: ")


@pytest.mark.parametrize(
    ("variables", "said"), [({"REHEARSAL": "1"}, True), ({"REHEARSAL": ""}, None), ({}, None)]
)
def test_a_record_says_whether_it_is_of_a_rehearsal(monkeypatch, tmp_path, variables, said):
    monkeypatch.syspath_prepend(str(FOLDER))
    import record
    import versions

    monkeypatch.delenv("REHEARSAL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    paths = measured, machine = tmp_path / "goat.json", tmp_path / "versions.json"
    record.write_record(measured, ["jaxreid", "benchmark", "goat"], {"benchmark": "goat"})
    monkeypatch.setattr(sys, "argv", ["versions.py", str(machine)])
    versions.main()
    for path in paths:
        found = json.loads(path.read_text())
        assert found.get("rehearsal") is said
        assert found["machine"]
