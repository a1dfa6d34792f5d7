"""What tests of evaluations share that are killed, go on, or are split over processes."""

import json
import sys

import numpy as np
from commands import EMBEDDING

WORDS = ("evaluate", "mine:embed", "--dataset", "synthetic_reid/tiny", "--eps", "5", "--steps", "3")
WORDS += ("--attacks", "sma,fna,worst", "--quick", "--seeds", "1", "--batch-size", "16")
# Holds process 0 at the second report of progress after so many results, or attacks of the worst
# case, are on disk: what is to be killed is in the middle, however late that comes. Process 1 waits
# for its part of a sum. A job that Slurm starts again is not held.
PROGRAM = f"""#!{sys.executable}
import os, pathlib, time
from jaxreid.evaluation import sweep

PROCESS = os.environ.get("JAXREID_PROCESS", os.environ.get("SLURM_PROCID", "0"))
RESTARTED = "SLURM_RESTART_COUNT" in os.environ
kind, count = os.environ.get("HELD", "results 99").split()
within, folder, heard = sweep.Meter.within, pathlib.Path(os.environ["RUN"]), []


def held(self, done):
    within(self, done)
    results = folder / "results.jsonl"
    lines = results.read_text().count("\\n") if results.exists() else 0
    found = lines if kind == "results" else len([*folder.glob("worst/*/*.npz")])
    if found >= int(count) and PROCESS == "0" and not RESTARTED:
        heard.append(done)
    while len(heard) >= 2:
        folder.with_suffix(".held").touch()
        time.sleep(1)


sweep.Meter.within = held
from jaxreid.cli import main
main()
"""


def program(folder):
    """Writes PROGRAM, a command `jaxreid` that finds the embedding of WORDS; gives its path."""
    (folder / "mine.py").write_text(EMBEDDING, encoding="utf-8")
    path = folder / "jaxreid"
    path.write_text(PROGRAM, encoding="utf-8")
    path.chmod(0o755)
    return path


def without_times(tree):
    if isinstance(tree, dict):
        return {name: without_times(part) for name, part in tree.items() if "seconds" not in name}
    return [without_times(part) for part in tree] if isinstance(tree, list) else tree


def results(workdir):
    """The lines of results.jsonl, but for what the clock says."""
    lines = (workdir / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [without_times(json.loads(line)) for line in lines]


def arrays(workdir):
    """Everything else that a run leaves, by file and name."""
    return {
        (str(path.relative_to(workdir)), name): array
        for path in sorted(workdir.rglob("*.npz"))
        for name, array in np.load(path).items()
    }


def same_bits(whole, other):
    """Asserts that two runs left the same results and arrays, bit for bit."""
    assert results(other) == results(whole)
    expected, found = arrays(whole), arrays(other)
    assert len(expected) >= 4
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert array.dtype == found[name].dtype
        np.testing.assert_array_equal(found[name], array, err_msg=str(name))
