"""The command prints every finding, and its exit code says whether the main job can run."""

import json
import subprocess
import sys

import pytest

from jaxreid.cli import diagnosis, main
from jaxreid.cli.diagnosis import Finding


@pytest.fixture
def found(monkeypatch):
    """A machine with one finding per section; the storage is as a test says."""

    def install(storage):
        for section in ("software", "devices", "machine"):
            finding = Finding(section, "ok", "fine")
            monkeypatch.setattr(diagnosis, section, lambda finding=finding: iter([finding]))
        monkeypatch.setattr(diagnosis, "storage", lambda data_dir, workdir: iter([storage]))
        note = Finding("market1501", "note", "not prepared", "prepare it")
        monkeypatch.setattr(diagnosis, "datasets", lambda data_dir: iter([note]))

    return install


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(["doctor", *words])
    return end.value.code, capsys.readouterr().out


def test_a_machine_with_notes_is_ready(found, capsys):
    found(Finding("runs", "ok", "100 GiB free"))
    code, printed = run(capsys)
    assert code == 0
    assert printed.splitlines()[-1] == "ready: `jaxreid quickstart` can run here"
    assert "  note   market1501                 not prepared\n         -> prepare it\n" in printed


def test_a_broken_machine_is_told_and_exits_with_one(found, capsys):
    found(Finding("runs", "broken", "disk full", "free some space"))
    code, printed = run(capsys)
    assert code == 1
    assert printed.splitlines()[-1] == "broken: runs; the lines after -> say what to do"


def test_json_is_all_that_is_printed(found, capsys):
    found(Finding("runs", "broken", "disk full", "free some space", {"free_bytes": 7}))
    code, printed = run(capsys, "--json")
    told = json.loads(printed)
    assert code == 1
    assert told["ok"] is False
    assert told["storage"][0]["facts"] == {"free_bytes": 7}


@pytest.mark.slow
def test_it_runs_for_real_and_never_imports_jax(tmp_path):
    script = (
        "import sys; from jaxreid.cli import main\n"
        f"try: main(['doctor', '--json', '--data-dir', {str(tmp_path)!r}])\n"
        "finally: print('jax' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert done.stderr.strip().endswith("False")
    assert (done.returncode == 0) == told["ok"]
    assert told["devices"][0]["facts"]["backend"] == "cpu"
