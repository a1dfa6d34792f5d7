"""slurm.sbatch against a stand-in for srun: what tasks are started with."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "slurm.sbatch"
SRUN = """#!/bin/sh
echo "${SRUN_CPUS_PER_TASK-none}" >"$(dirname "$0")/processors"
while [ "${1#--}" != "$1" ]; do shift; done
for word; do echo "$word"; done >"$(dirname "$0")/words"
"""
JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_NTASKS": "1"}


def submitted(folder, *words, **variables):
    """Runs the script as Slurm does; gives what srun was to start."""
    (folder / "srun").write_text(SRUN, encoding="utf-8")
    (folder / "srun").chmod(0o755)
    variables["PATH"] = f"{folder}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", SCRIPT, *words], env={**os.environ, **JOB, **variables}, check=True, timeout=30
    )
    return (folder / "words").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("what", "started"),
    [
        ("synthetic", ("train", "--config", "synthetic", "--workdir", "WORK")),
        ("evaluate", ("evaluate", "--out", "WORK")),
        ("transfer", ("transfer", "--out", "WORK")),
        ("attack", ("attack", "--out", "WORK/images")),
    ],
)
def test_what_tasks_are_asked_for(tmp_path, what, started):
    words = submitted(tmp_path, tmp_path / "work", what, "a word", "--eps")
    work = str(tmp_path / "work")
    assert words == [
        "jaxreid",
        *(word.replace("WORK", work) for word in started),
        "a word",
        "--eps",
    ]


@pytest.mark.parametrize(("asked", "given"), [("16", "16"), (None, "none")])
def test_the_processors_of_the_job_reach_its_tasks(tmp_path, asked, given):
    """Since 22.05 srun takes them from SRUN_CPUS_PER_TASK alone (srun(1), --cpus-per-task)."""
    job = {} if asked is None else {"SLURM_CPUS_PER_TASK": asked}
    submitted(tmp_path, tmp_path / "work", "synthetic", **job)
    assert (tmp_path / "processors").read_text(encoding="utf-8") == f"{given}\n"
