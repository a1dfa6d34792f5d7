"""local.sh: processes that know each other, die together, are told to stop and come back."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dispositions import DEAF, LISTENING

SCRIPT = Path(__file__).parents[2] / "launch" / "local.sh"

# A stand-in for jaxreid: what process P does in run R is in the file do-P-R of the work directory;
# without one it is done at once.
STUB = f"""#!{sys.executable}
import os, pathlib, signal, sys, time
words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
folder = pathlib.Path(words.get("--workdir") or words["--out"])
process = os.environ.get("JAXREID_PROCESS", "0")
run = len(list(folder.glob(f"run-{{process}}-*")))
(folder / f"run-{{process}}-{{run}}").write_text(" ".join(sys.argv[1:]))
print("run", run, os.environ.get("JAXREID_COORDINATOR"), os.environ.get("JAXREID_PROCESSES"),
      os.environ.get("XLA_FLAGS"), flush=True)
def stop(number, frame):
    print("told to stop", flush=True)
    signal.signal(number, signal.SIG_DFL)
    time.sleep(0.5)  # saving
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
(folder / f"ready-{{process}}-{{run}}").touch()
script = folder / f"do-{{process}}-{{run}}"
if script.exists():
    exec(script.read_text())
"""

# In a deed: longer than any test, with the process that waits as its only end.
FOREVER = "time.sleep(600)"
# In a deed: until the other process has made a file.
WAIT = 'exec("while not (folder / {0!r}).exists(): time.sleep(0.01)")'


@pytest.fixture
def launch(tmp_path):
    """Starts local.sh on the stand-in: launch(2, {(process, run): "its deed"}, VARIABLE=...)."""
    stub = tmp_path / "stub"
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)
    workdir = tmp_path / "work"
    workdir.mkdir()

    def launched(processes, deeds=None, *words, what="synthetic", start=LISTENING, **variables):
        for (process, run), deed in (deeds or {}).items():
            (workdir / f"do-{process}-{run}").write_text(deed, encoding="utf-8")
        environment = {**os.environ, "JAXREID": str(stub), **variables}
        return subprocess.Popen(
            [*start, SCRIPT, str(processes), str(workdir), what, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return launched


def ended(running):
    # As long as a busy machine may take: what hangs is to be told, not what is slow.
    out, err = running.communicate(timeout=300)
    return running.returncode, out, err


def wait_for(*files):
    until = time.monotonic() + 300
    while not all(file.exists() for file in files):
        assert time.monotonic() < until, files
        time.sleep(0.05)


def logs(tmp_path, process):
    return (tmp_path / "work" / "logs" / f"process-{process}.log").read_text(encoding="utf-8")


def test_every_process_knows_the_others_and_has_a_log(launch, tmp_path):
    code, out, err = ended(launch(2, None, "--config.epochs=3", DEVICES="2"))
    assert (code, err) == (0, "")
    words = (tmp_path / "work" / "run-1-0").read_text(encoding="utf-8")
    assert words == f"train --config synthetic --workdir {tmp_path / 'work'} --config.epochs=3"
    told = [re.match(r"run 0 (127\.0\.0\.1:\d+) 2 .*count=2\n", logs(tmp_path, p)) for p in (0, 1)]
    assert told[0][1] == told[1][1]
    assert sorted(line[:9] for line in out.splitlines()) == ["[0] run 0", "[1] run 0"]


def test_other_commands_are_started_and_restarted_alike(launch, tmp_path):
    work = tmp_path / "work"
    words = ("evaluate", "my model", "--eps", "5")
    code, out, err = ended(launch(2, {(1, 0): "sys.exit(75)"}, *words[1:], what=words[0]))
    assert code == 0
    assert "preempted; restart 1 of at most 10" in err
    for run in ("run-0-0", "run-1-0", "run-0-1", "run-1-1"):
        typed = (work / run).read_text(encoding="utf-8")
        assert typed == f"evaluate --out {work} my model --eps 5"
    assert not any("[2]" in line for line in out.splitlines())


def test_images_are_written_where_nothing_is(launch, tmp_path):
    """`jaxreid attack` takes an empty folder only, and logs are in WORKDIR."""
    stub = tmp_path / "stub"
    stub.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    code, out, _ = ended(launch(1, None, "mine:embed", what="attack"))
    assert (code, out) == (0, f"[0] attack --out {tmp_path / 'work'}/images mine:embed\n")


def test_one_process_is_no_cluster(launch, tmp_path):
    assert ended(launch(1))[0] == 0
    assert logs(tmp_path, 0).startswith("run 0 None None ")


def test_one_dies_and_all_stop(launch, tmp_path):
    dies = f"{WAIT.format('ready-0-0')}; {WAIT.format('ready-2-0')}; sys.exit(3)"
    code, _, err = ended(launch(3, {(1, 0): dies, (0, 0): FOREVER, (2, 0): FOREVER}))
    assert code == 3
    assert "local.sh: process 1 ended with code 3\nlocal.sh: stopping the others\n" in err
    assert "killing" not in err
    assert "told to stop" in logs(tmp_path, 0)
    assert "told to stop" in logs(tmp_path, 2)


@pytest.mark.slow
def test_one_is_killed_and_a_deaf_one_is_killed_too(launch):
    deaf = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); (folder / 'deaf').touch(); {FOREVER}"
    killed = f"{WAIT.format('deaf')}; os.kill(os.getpid(), 9)"
    code, _, err = ended(launch(2, {(0, 0): deaf, (1, 0): killed}, GRACE="2"))
    assert code == 128 + signal.SIGKILL
    assert "killing what did not stop within 2 s" in err


def test_preemption_restarts_all(launch, tmp_path):
    work = tmp_path / "work"
    preempted = "time.sleep(0.3 * int(process)); sys.exit(75)"
    code, _, err = ended(launch(2, {(p, r): preempted for p in (0, 1) for r in (0, 1)}))
    assert code == 0
    assert "preempted; restart 2 of at most 10 resumes in" in err
    assert (work / "run-0-2").exists()
    assert (work / "run-1-2").exists()
    assert "told to stop" not in logs(tmp_path, 1)  # a second SIGTERM would cut its saving short
    assert logs(tmp_path, 0).count("run ") == 3  # logs go on


def test_a_sigterm_before_the_trainer_listens_is_preemption_too(launch, tmp_path):
    early = (
        f"{WAIT.format('ready-0-0')}; signal.signal(signal.SIGTERM, signal.SIG_DFL); "
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    code, _, err = ended(launch(2, {(1, 0): early, (0, 0): FOREVER}))
    assert code == 0
    assert "process 1 ended with code 143\nlocal.sh: stopping the others\n" in err
    assert "told to stop" in logs(tmp_path, 0)


def test_restarts_are_counted(launch):
    deeds = {(0, run): "sys.exit(75)" for run in range(3)}
    code, _, err = ended(launch(1, deeds, MAX_RESTARTS="2"))
    assert code == 75
    assert "preempted again after 2 restarts; not restarted" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_reaches_all_and_is_not_undone(launch, tmp_path, number):
    work = tmp_path / "work"
    running = launch(2, {(0, 0): FOREVER, (1, 0): FOREVER})
    wait_for(work / "ready-0-0", work / "ready-1-0")
    running.send_signal(number)
    code, _, err = ended(running)
    assert code == 75
    assert "passing SIGTERM on to all processes" in err
    for process in (0, 1):
        assert logs(tmp_path, process).count("told to stop") == 1
    assert not (work / "run-0-1").exists()


def test_what_was_started_deaf_to_ctrl_c_stays_so(launch, tmp_path):
    """As a shell starts what stands before an `&` in a script."""
    work = tmp_path / "work"
    running = launch(1, {(0, 0): FOREVER}, start=DEAF)
    wait_for(work / "ready-0-0")
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGTERM)
    code, _, err = ended(running)
    assert code == 75
    assert "got SIGTERM; passing SIGTERM on to all processes" in err
    assert "SIGINT" not in err


def test_wrong_usage_is_told(tmp_path):
    for words in ([], ["2", "work"], ["0", "work", "synthetic"], ["x", "work", "synthetic"]):
        result = subprocess.run([SCRIPT, *words], capture_output=True, text=True)
        assert result.returncode == 2
        assert "PROCESSES WORKDIR CONFIG" in result.stderr
    result = subprocess.run(
        [SCRIPT, "1", str(tmp_path / "w"), "synthetic"],
        env={**os.environ, "JAXREID": "no-such-program"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "no program no-such-program" in result.stderr
