"""local.sh with the real trainer: of two processes one is preempted or killed; both come back."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trainings
from dispositions import LISTENING

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--config.dataset.name=synthetic_reid/tiny",
    "--config.dataset.size=(32,16)",
    "--config.batch.size=8",
    "--config.augmentation.pad=1",
    "--config.evaluation.every_epochs=0",
    "--config.log_every_steps=1",
    "--config.epochs=3",
    "--config.model.architecture=tiny",
    "--config.schedule.warmup_epochs=0",
    "--config.checkpoint.every_steps=1000",
    "--config.model.synchronize_batch_norm=false",
)


@pytest.fixture
def program(tmp_path):
    """The command line of these sources, with networks of the tests."""
    path = tmp_path / "jaxreid"
    # What is to be killed is not at its end, however late that comes.
    held = "import os, trainings\nif 'HELD' in os.environ: trainings.hold_at(28)"
    path.write_text(f"#!{sys.executable}\n{held}\n{trainings.COMMAND}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def launch(program, tiny_data, compiled):
    """Starts local.sh with two processes: launch(WORKDIR, OPTION, ..., VARIABLE=...)."""

    def launched(workdir, *options, **variables):
        words = ("2", str(workdir), "synthetic", f"--config.dataset.data_dir={tiny_data}")
        environment = {
            # The second start need not compile what the first one did.
            **trainings.environment(compiled),
            "JAXREID": str(program),
            "DEVICES": "1",
            "XLA_FLAGS": "",
            "GRACE": "30",
            **variables,
        }
        return subprocess.Popen(
            [*LISTENING, ROOT / "launch" / "local.sh", *words, *OPTIONS, *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return launched


def trained_steps(workdir):
    lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line["step"] for line in map(json.loads, lines) if line["kind"] == "train"]


@pytest.mark.slow
def test_two_processes_train_and_come_back(launch, tmp_path):
    workdir = tmp_path / "run"
    running = launch(workdir)
    try:
        until = time.monotonic() + 480
        # From about here on the trainer listens, and compiles before its first step.
        while not (workdir / "metrics.jsonl").exists():
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)
        os.kill(trainings.child(workdir, 1), signal.SIGTERM)
        out, err = running.communicate(timeout=480)
    finally:
        running.terminate()
    assert running.returncode == 0, (out[-3000:], err)
    assert re.search("process [01] ended with code (75|143)", err), err
    assert "preempted; restart 1 of at most 10" in err
    assert "restart 2" not in err
    steps = trained_steps(workdir)
    assert steps == list(range(1, 31))  # none missing, none twice


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_one_of_two_is_killed_and_the_run_ends_as_if_it_had_not(launch, tmp_path, process):
    options = ("--config.goat.enabled=true", "--config.checkpoint.every_steps=5")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    running = launch(whole, *options)
    out, err = running.communicate(timeout=480)
    assert running.returncode == 0, (out[-3000:], err)
    # The other one waits for the dead one's part of a sum, and hears no request to stop.
    running = launch(killed, *options, HELD="1", GRACE="1")
    try:
        until = time.monotonic() + 480
        while max(trainings.steps(killed), default=0) < 12:
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)
        os.kill(trainings.child(killed, process), signal.SIGKILL)
        out, err = running.communicate(timeout=480)
    finally:
        running.terminate()
    assert running.returncode not in (0, 75), (out[-3000:], err)
    assert f"process {process} ended with code 137" in err
    assert 12 <= max(trainings.steps(killed)) < 30
    running = launch(killed, *options)
    out, err = running.communicate(timeout=480)
    assert running.returncode == 0, (out[-3000:], err)
    assert re.search(r"going on after step (5|10|15|20|25) of 30", out), out[-3000:]
    assert (killed / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert trainings.without_clock(killed) == trainings.without_clock(whole)
