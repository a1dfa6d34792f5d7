"""slurm.sbatch on a real Slurm, where there is one: two tasks, preemption, a restart, the end."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "slurm.sbatch"


def slurm(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout


def reachable():
    if not shutil.which("sinfo"):
        return False
    try:
        return bool(slurm("sinfo", "--noheader", "--states=idle,mixed", "--format=%N").strip())
    except (subprocess.SubprocessError, OSError):
        return False


pytestmark = pytest.mark.skipif(not reachable(), reason="no Slurm with an idle node here")

# A stand-in for jaxreid: the first run trains until it is told to stop, the second one is done.
STUB = f"""#!{sys.executable}
import os, pathlib, signal, sys, time
words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
folder, task = pathlib.Path(words["--workdir"]), os.environ["SLURM_PROCID"]
def stop(number, frame):
    signal.signal(number, signal.SIG_DFL)
    time.sleep(2 if task == "0" else 0)  # the first one saves
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print(task, "of", os.environ["SLURM_STEP_NUM_TASKS"], flush=True)
first = folder / f"ran-{{task}}"
if first.exists():
    sys.exit(int((folder / "code").read_text()))
first.touch()
time.sleep(60)
"""


@pytest.fixture
def job(tmp_path):
    """Submits the stand-in with 2 tasks on one node; gives the job's number, and cancels it."""
    stub = tmp_path / "stub"
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)
    (tmp_path / "work").mkdir()
    options = ["--parsable", "--ntasks-per-node=2", "--time=5", f"--output={tmp_path}/job.out"]
    number = subprocess.run(
        ["sbatch", *options, SCRIPT, str(tmp_path / "work"), "synthetic"],
        env={**os.environ, "JAXREID": str(stub)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    yield number
    subprocess.run(["scancel", number], check=False)


def wait_for(told, seconds=60):
    until = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < until
        time.sleep(0.2)


def state(number):
    return re.search(r"JobState=(\S+)", slurm("scontrol", "show", "job", number))[1]


@pytest.mark.parametrize(
    ("preempt", "code"),
    [
        ("scancel --signal=TERM", 0),
        ("scancel --signal=TERM --batch", 0),
        ("scontrol requeue", 2),
    ],
)
def test_a_preempted_job_saves_and_comes_back(job, tmp_path, preempt, code):
    work = tmp_path / "work"
    (work / "code").write_text(str(code), encoding="utf-8")
    wait_for(lambda: (work / "ran-0").exists() and (work / "ran-1").exists())
    time.sleep(0.5)
    slurm(*preempt.split(), job)
    wait_for(lambda: state(job) == "PENDING")
    # Slurm itself would wait for two minutes; a node refuses what comes back in the same second.
    time.sleep(2)
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_for(lambda: state(job) in ("COMPLETED", "FAILED"))
    for task in (0, 1):
        log = (work / "logs" / f"process-{task}.log").read_text(encoding="utf-8")
        lines = [line for line in log.splitlines() if not line.startswith("slurmstepd")]
        assert lines == [f"{task} of 2", "saved", f"{task} of 2"]
    told = (tmp_path / "job.out").read_text(encoding="utf-8")
    assert "start 1 on" in told
    assert "preempted" in told
    assert "start 2 on" in told
    assert f"ended with code {code}" in told
    assert state(job) == ("FAILED" if code else "COMPLETED")
