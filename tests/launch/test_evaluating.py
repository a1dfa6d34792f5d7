"""local.sh with real evaluations: of two processes one is killed or preempted; both come back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trainings
from commands import EMBEDDING
from dispositions import LISTENING

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
WORDS = ("evaluate", "mine:embed", "--dataset", "synthetic_reid/tiny", "--eps", "5", "--steps", "3")
WORDS += ("--attacks", "sma,fna,worst", "--quick", "--seeds", "1", "--batch-size", "16")
# Holds process 0 at the second report of progress after so many results, or attacks of the worst
# case, are on disk: what is to be killed is in the middle, however late that comes. Process 1 waits
# for its part of a sum.
PROGRAM = f"""#!{sys.executable}
import os, pathlib, time
from jaxreid.evaluation import sweep

kind, count = os.environ.get("HELD", "results 99").split()
within, folder, heard = sweep.Meter.within, pathlib.Path(os.environ["RUN"]), []


def held(self, done):
    within(self, done)
    results = folder / "results.jsonl"
    lines = results.read_text().count("\\n") if results.exists() else 0
    found = lines if kind == "results" else len([*folder.glob("worst/*/*.npz")])
    if found >= int(count) and os.environ.get("JAXREID_PROCESS", "0") == "0":
        heard.append(done)
    while len(heard) >= 2:
        folder.with_suffix(".held").touch()
        time.sleep(1)


sweep.Meter.within = held
from jaxreid.cli import main
main()
"""


@pytest.fixture(scope="module")
def launch(tmp_path_factory, tiny_data, compiled):
    """Starts local.sh on WORDS: launch(WORKDIR, processes=2, VARIABLE=...)."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "mine.py").write_text(EMBEDDING, encoding="utf-8")
    (folder / "jaxreid").write_text(PROGRAM, encoding="utf-8")
    (folder / "jaxreid").chmod(0o755)

    def launched(workdir, processes=2, **variables):
        environment = {
            **trainings.environment(compiled),
            "JAXREID": str(folder / "jaxreid"),
            "TFDS_DATA_DIR": str(tiny_data),
            "DEVICES": "1",
            "XLA_FLAGS": "",
            "RUN": str(workdir),
            **variables,
        }
        return subprocess.Popen(
            [*LISTENING, ROOT / "launch" / "local.sh", str(processes), str(workdir), *WORDS],
            env=environment,
            cwd=folder,
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


def without_times(tree):
    if isinstance(tree, dict):
        return {name: without_times(part) for name, part in tree.items() if "seconds" not in name}
    return [without_times(part) for part in tree] if isinstance(tree, list) else tree


def results(workdir):
    lines = (workdir / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [without_times(json.loads(line)) for line in lines]


def arrays(workdir):
    """Everything else that a run leaves, by file and name."""
    return {
        (str(path.relative_to(workdir)), name): array
        for path in sorted(workdir.rglob("*.npz"))
        for name, array in np.load(path).items()
    }


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
    expected, found = arrays(whole), arrays(workdir)
    assert len(expected) >= 4
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert array.dtype == found[name].dtype
        np.testing.assert_array_equal(found[name], array, err_msg=str(name))


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
