"""local.sh with real evaluations: of two processes one is killed or preempted; both come back."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import evaluations
import numpy as np
import pytest
import trainings
from dispositions import LISTENING
from evaluations import WORDS, arrays, results

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def launch(tmp_path_factory, tiny_data, compiled):
    """Starts local.sh on WORDS: launch(WORKDIR, processes=2, VARIABLE=...)."""
    program = evaluations.program(tmp_path_factory.mktemp("program"))

    def launched(workdir, processes=2, **variables):
        environment = {
            **trainings.environment(compiled),
            "JAXREID": str(program),
            "TFDS_DATA_DIR": str(tiny_data),
            "DEVICES": "1",
            "XLA_FLAGS": "",
            "RUN": str(workdir),
            **variables,
        }
        return subprocess.Popen(
            [*LISTENING, ROOT / "launch" / "local.sh", str(processes), str(workdir), *WORDS],
            env=environment,
            cwd=program.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return launched


def ended(running, code=0):
    """What the script said at its end."""
    out, err = running.communicate(timeout=480)
    assert (running.returncode == 0) == (code == 0), (out[-3000:], err)
    return out, err


@pytest.fixture(scope="module")
def whole(launch, tmp_path_factory):
    """A run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    ended(launch(workdir))
    attacks = [line["condition"]["attack"] for line in results(workdir)]
    assert attacks == ["clean", "sma", "fna", "worst-1-quick"]
    return workdir


def wait_for(path, running):
    until = time.monotonic() + 480
    while not path.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def killed(launch, workdir, process, held):
    """Starts a run and kills a process of it in the middle."""
    # The other one may wait for the dead one's part of a sum, and hear no request to stop.
    running = launch(workdir, HELD=held, GRACE="1")
    try:
        wait_for(workdir.with_suffix(".held"), running)
        os.kill(trainings.child(workdir, process), signal.SIGKILL)
        _, err = ended(running, code=137)
    finally:
        running.terminate()
    assert f"process {process} ended with code 137" in err


@pytest.mark.parametrize(("process", "held"), [(1, "results 2"), (0, "worst 2")])
def test_one_of_two_is_killed_and_the_run_ends_as_if_it_had_not(
    launch, whole, tmp_path, process, held
):
    workdir = tmp_path / "run"
    killed(launch, workdir, process, held)
    before = [line["condition"]["attack"] for line in results(workdir)]
    kept = sorted(path.name[:2] for path in workdir.glob("worst/*/*.npz"))
    assert (before, kept) == (
        (["clean", "sma"], []) if "results" in held else (["clean", "sma", "fna"], ["00", "01"])
    )
    out, _ = ended(launch(workdir))
    assert "sma, eps 5" not in out
    assert results(workdir) == results(whole)
    evaluations.same_bits(whole, workdir)


def test_other_devices_and_processes_go_on_for_a_killed_one(launch, whole, tmp_path):
    killed(launch, tmp_path / "run", 1, "worst 2")
    for processes, devices in ((1, "4"), (2, "2")):
        workdir = tmp_path / f"{processes}x{devices}"
        shutil.copytree(tmp_path / "run", workdir)
        ended(launch(workdir, processes, DEVICES=devices))
        assert not (workdir / "worst").exists() or not [*workdir.glob("worst/*/*.npz")]
        assert results(workdir) == results(whole)
        for name, array in arrays(whole).items():
            found = arrays(workdir)[name]
            if array.dtype.kind == "f":
                np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-5, err_msg=str(name))
            else:
                np.testing.assert_array_equal(found, array, err_msg=str(name))


def test_one_of_two_is_preempted_and_both_come_back(launch, whole, tmp_path):
    workdir = tmp_path / "run"
    running = launch(workdir, GRACE="5")
    try:
        wait_for(workdir / "results.jsonl", running)
        os.kill(trainings.child(workdir, 0), signal.SIGTERM)
        _, err = ended(running)
    finally:
        running.terminate()
    assert "preempted; restart 1 of at most 10" in err
    assert results(workdir) == results(whole)


def test_a_request_to_stop_ends_both_at_once(launch, tmp_path):
    """Without waiting at their end for each other, of which one waits for a part of a sum."""
    workdir = tmp_path / "run"
    running = launch(workdir, HELD="results 2", GRACE="50")
    try:
        wait_for(workdir.with_suffix(".held"), running)
        begin = time.monotonic()
        running.terminate()
        _, err = ended(running, code=75)
    finally:
        running.terminate()
    assert running.returncode == 75, err
    assert time.monotonic() - begin < 50
    assert "killing" not in err
    log = (workdir / "logs" / "process-0.log").read_text(encoding="utf-8")
    assert log.endswith("jaxreid: asked to stop (SIGTERM); the same command goes on\n")
