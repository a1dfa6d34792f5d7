"""Runs that are killed, preempted or run out of disk, as real processes of the command line."""

import random
import shutil
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


def test_a_preempted_run_says_75_and_goes_on(tmp_path, tiny_data, environment):
    """With a checkpoint after every step too, where a request is easily missed."""
    changes = GOAT | {"dataset.data_dir": tiny_data, "checkpoint.every_steps": 1, "epochs": 30}
    process = trainings.start(tmp_path, changes, env=environment)
    wait_for_step(process, tmp_path, 2)
    process.send_signal(signal.SIGTERM)
    told = trainings.finish(process, code=75)
    stopped = max(trainings.steps(tmp_path))
    assert f"asked to stop: saved at step {stopped} of 300" in told
    assert 2 <= stopped < 300
    assert last_checkpoint(tmp_path)[0] == stopped
    process = trainings.start(tmp_path, changes, env=environment)
    wait_for_step(process, tmp_path, stopped + 1)
    process.send_signal(signal.SIGTERM)
    assert f"going on after step {stopped} of 300" in trainings.finish(process, code=75)
    assert trainings.steps(tmp_path) == list(range(1, max(trainings.steps(tmp_path)) + 1))


# As `jaxreid train`, but it dies without a word when it would log a step after the tenth.
DIES = """
import os
import trainings
from jaxreid.cli import main
from jaxreid.training.logbook import Logbook

write = Logbook.write


def until_step_10(self, kind, *, step, **rest):
    if step > 10:
        os._exit(3)
    write(self, kind, step=step, **rest)


Logbook.write = until_step_10
trainings.register()
main()
"""
# As `jaxreid train`, but files cannot grow beyond 6 kB: a stand-in for a full disk.
CAPPED = """
import resource
import signal
import trainings
from jaxreid.cli import main
from jaxreid.training import loop

train = loop.train


def capped(*arguments, **options):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))
    return train(*arguments, **options)


loop.train = capped
trainings.register()
main()
"""


def test_a_run_goes_on_on_other_devices_and_a_full_disk_leaves_what_was_saved(
    tmp_path, tiny_data, compiled
):
    changes = {"dataset.data_dir": tiny_data, "checkpoint.every_steps": 2, "epochs": 2}

    def run(name, devices, code=trainings.COMMAND):
        env = trainings.environment(compiled, devices=devices)
        return trainings.start(tmp_path / name, changes, env=env, code=code)

    trainings.finish(run("four", 4, DIES), code=3)
    saved, before, _ = last_checkpoint(tmp_path / "four")
    # What was being written when it died may be lost.
    assert saved in (8, 10)
    for name in ("one", "two", "full"):
        shutil.copytree(tmp_path / "four", tmp_path / name)
    running = run("one", 1), run("two", 2)
    full = trainings.finish(run("full", 1, CAPPED), code=1)
    for told in trainings.finish(*running):
        assert f"going on after step {saved} of 20" in told
    one, two = ([line["loss"] for line in trainings.lines(tmp_path / n)] for n in ("one", "two"))
    assert trainings.steps(tmp_path / "one") == list(range(1, 21))
    assert one[:saved] == two[:saved]
    np.testing.assert_allclose(one, two, rtol=1e-4)
    # Orbax's own threads may complain after it.
    (told,) = (line for line in full.splitlines() if line.startswith("jaxreid: "))
    assert told.startswith("jaxreid: OSError: a checkpoint in ")
    assert "could not be written; those before are whole" in told
    assert "File too large" in told
    step, after, warnings = last_checkpoint(tmp_path / "full")
    assert (step, warnings) == (saved, [])
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)
