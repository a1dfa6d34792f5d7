"""Runs that are killed, preempted or run out of disk, as real processes of the command line."""

import os
import random
import resource
import signal
import time

import numpy as np
import pytest
import trainings

from jaxreid.training.checkpoints import Checkpoints

GOAT = {
    "goat.enabled": True,
    "goat.push": 2,
    "goat.pull": 1,
    "checkpoint.every_steps": 3,
    "checkpoint.keep": 50,
    "epochs": 3,
}


@pytest.fixture
def environment(compiled):
    return trainings.environment(compiled, devices=2)


def wait_for_step(process, workdir, step):
    until = time.monotonic() + 240
    while max(trainings.steps(workdir), default=0) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def last_checkpoint(workdir):
    checkpoints = Checkpoints(workdir / "checkpoints", keep=50)
    found = checkpoints.newest()
    checkpoints.close()
    return found


def without_clock(workdir):
    times = ("images_per_second", "waiting_for_data")
    return [
        {name: value for name, value in line.items() if name not in times}
        for line in trainings.lines(workdir)
    ]


def test_a_killed_run_ends_as_one_never_killed(tmp_path, tiny_data, environment):
    changes = GOAT | {"dataset.data_dir": tiny_data, "optimizer.ema": 0.9}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trainings.finish(trainings.start(whole, changes, env=environment))
    assert trainings.steps(whole) == list(range(1, 31))
    draw = random.Random(5)
    for earliest, latest in ((2, 11), (16, 25)):
        step = draw.randint(earliest, latest)
        process = trainings.start(killed, changes, env=environment)
        wait_for_step(process, killed, step)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert step <= max(trainings.steps(killed)) < 30
    told = trainings.finish(trainings.start(killed, changes, env=environment))
    assert "going on after step" in told
    for name in ("last.safetensors", "config.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    (step, expected, _), (other, found, _) = last_checkpoint(whole), last_checkpoint(killed)
    assert step == other == 30
    assert expected.arrays.keys() == found.arrays.keys()
    assert sum(name.startswith("optimizer_state") for name in found.arrays) > 20
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
    assert found.notes == expected.notes
    assert without_clock(killed) == without_clock(whole)
