"""slurm.sbatch on two nodes, one of which loses its power: the job ends as if it had not.

Or goes on without it, submitted again for one node.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trainings

SCRIPT = Path(__file__).parents[2] / "launch" / "slurm.sbatch"
CLUSTER = Path(__file__).parent / "two_nodes.sh"
ALONE = ("unshare", "--net", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
TOOLS = ("ip", "munged", "nsenter", "sbatch", "slurmctld", "slurmd", "unshare")


def possible():
    if os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not possible(), reason="needs Slurm, munge, and a root with namespaces"),
]
GOAT = {
    "goat.enabled": True,
    "goat.push": 2,
    "goat.pull": 1,
    "epochs": 3,
    "checkpoint.every_steps": 5,
}
# What is to lose a node is not at its end, however late that comes.
PROGRAM = f"""#!{sys.executable}
import os
if "HELD" in os.environ and "SLURM_RESTART_COUNT" not in os.environ:
    import trainings
    trainings.hold_at(28)
{trainings.COMMAND}
"""


def wait_for(told, seconds=300):
    until = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < until, told
        time.sleep(0.2)


class Cluster:
    """Of two_nodes.sh."""

    def __init__(self, folder):
        self.folder = folder
        self.running = subprocess.Popen(
            [*ALONE, CLUSTER, folder], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            wait_for(lambda: self.running.poll() is not None or self.idle() == 2, seconds=60)
        except AssertionError:
            self.close()
        if self.running.poll() is not None:
            logs = "".join(path.read_text()[-300:] for path in folder.glob("*.log"))
            pytest.skip(f"Slurm does not start here: {self.running.stderr.read()}{logs}")

    def ask(self, *words, **variables):
        inside = ("nsenter", "--target", str(self.running.pid), "--net", "--")
        variables = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), **variables}
        return subprocess.run(
            [*inside, *map(str, words)], env=variables, capture_output=True, text=True, check=True
        ).stdout

    def idle(self):
        try:
            told = self.ask("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N %t")
        except subprocess.CalledProcessError:
            return 0
        return len(re.findall("^n[12] idle$", told, re.MULTILINE))

    def happens(self, what, node):
        self.running.stdin.write(f"{what} {node}\n")
        self.running.stdin.flush()

    def state(self, job):
        return re.search(r"JobState=(\S+)", self.ask("scontrol", "show", "job", job))[1]

    def close(self):
        self.running.stdin.close()
        self.running.wait(60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def submit(cluster, tmp_path_factory, tiny_data, compiled):
    """Submits a training: submit(WORKDIR, VARIABLE=...) gives the job's number."""
    program = tmp_path_factory.mktemp("program") / "jaxreid"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)
    fields = trainings.words(GOAT | {"dataset.data_dir": tiny_data})

    def submitted(workdir, nodes=2, **variables):
        options = ("--parsable", f"--nodes={nodes}", f"--output={workdir}.out")
        variables |= trainings.environment(compiled, JAXREID=program)
        variables["SLURM_CONF"] = str(cluster.folder / "slurm.conf")
        return cluster.ask(
            "sbatch", *options, SCRIPT, workdir, "synthetic", *fields, **variables
        ).strip()

    return submitted


@pytest.fixture(scope="module")
def whole(cluster, submit, tmp_path_factory):
    """The work directory of a run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    job = submit(workdir)
    wait_for(lambda: cluster.state(job) in ("COMPLETED", "FAILED"), seconds=600)
    assert cluster.state(job) == "COMPLETED", workdir.with_suffix(".out").read_text()
    return workdir


def loses(cluster, job, workdir, node):
    """Takes a node from a job in the middle of its run, and waits until Slurm has noticed."""
    wait_for(lambda: max(trainings.steps(workdir), default=0) >= 12, seconds=600)
    cluster.happens("kill", node)
    wait_for(lambda: cluster.state(job) == "PENDING")
    assert max(trainings.steps(workdir)) < 30


def ends(cluster, job, workdir):
    """Waits for the end of a job that goes on; gives the starts that its script told of."""
    wait_for(lambda: cluster.state(job) in ("COMPLETED", "FAILED"), seconds=600)
    told = workdir.with_suffix(".out").read_text(encoding="utf-8")
    assert cluster.state(job) == "COMPLETED", told
    log = (workdir / "logs" / "process-0.log").read_text(encoding="utf-8")
    assert re.search(r"^going on after step (5|10|15|20|25) of 30$", log, re.MULTILINE), log
    assert trainings.steps(workdir) == list(range(1, 31))
    return re.findall(r"start (\d on \S+, \d tasks)", told)


@pytest.mark.parametrize("node", ["n2", "n1"])  # n1 has the batch script and the coordinator
def test_a_node_dies_and_the_job_ends_as_if_it_had_not(cluster, submit, whole, tmp_path, node):
    workdir = tmp_path / "run"
    job = submit(workdir, HELD="1")
    loses(cluster, job, workdir, node)
    cluster.happens("start", node)
    wait_for(lambda: cluster.idle() == 2)
    # Slurm itself would wait for two minutes.
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
    starts = ends(cluster, job, workdir)
    assert starts == ["1 on n[1-2], 2 tasks", "2 on n[1-2], 2 tasks"]
    assert (workdir / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert trainings.without_clock(workdir) == trainings.without_clock(whole)


def test_a_node_dies_and_another_job_goes_on_without_it(cluster, submit, whole, tmp_path):
    workdir = tmp_path / "run"
    job = submit(workdir, HELD="1")
    loses(cluster, job, workdir, "n2")
    cluster.ask("scancel", job)
    starts = ends(cluster, submit(workdir, nodes=1), workdir)
    cluster.happens("start", "n2")
    wait_for(lambda: cluster.idle() == 2)
    assert starts == ["1 on n[1-2], 2 tasks", "1 on n1, 1 tasks"]
    losses = [[line["loss"] for line in trainings.lines(path)] for path in (whole, workdir)]
    # The bound of `training/test_layouts.py`: signs of gradients near zero turn with the rounding.
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
