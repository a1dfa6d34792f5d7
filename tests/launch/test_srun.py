"""slurm.sbatch against a stand-in for srun: what tasks are started with."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "slurm.sbatch"
SRUN = """#!/bin/sh
echo "${SRUN_CPUS_PER_TASK-none}" >"$(dirname "$0")/processors"
"""


@pytest.mark.parametrize(("asked", "given"), [("16", "16"), (None, "none")])
def test_the_processors_of_the_job_reach_its_tasks(tmp_path, asked, given):
    """Since 22.05 srun takes them from SRUN_CPUS_PER_TASK alone (srun(1), --cpus-per-task)."""
    (tmp_path / "srun").write_text(SRUN, encoding="utf-8")
    (tmp_path / "srun").chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_NTASKS": "1"}
    if asked is not None:
        job["SLURM_CPUS_PER_TASK"] = asked
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", SCRIPT, tmp_path / "work", "synthetic"],
        env={**os.environ, **job, "PATH": path},
        check=True,
        timeout=30,
    )
    assert (tmp_path / "processors").read_text(encoding="utf-8") == f"{given}\n"
