"""A run that is stopped goes on with other devices and processes, on the same examples."""

import json
import subprocess
import sys

import numpy as np
import pytest
import trainings

# Trains up to a step, and notes which examples this process had at each.
CODE = """
import json
import signal
import sys
from pathlib import Path

import jax

devices, process, processes, port, folder, stop, runs = sys.argv[1:]
if processes != "1":
    from jaxreid.distributed import initialize

    initialize(f"localhost:{port}", int(processes), int(process))
import trainings
from jaxreid.training import trainer

assert jax.device_count() == int(devices) * int(processes)
by_device = trainer.by_device


def noted(batch, count):
    with (workdir / f"examples-{process}.jsonl").open("a") as file:
        print(json.dumps(batch.indices.tolist()), file=file)
    return by_device(batch, count)


def watch(progress):
    if progress.stage == "training" and 0 < progress.done == int(stop):
        signal.raise_signal(signal.SIGTERM)


trainer.by_device = noted
for name, changes in json.loads(runs).items():
    jax.config.update("jax_enable_x64", changes.get("model.dtype") == "float64")
    workdir = Path(folder) / name
    outcome = trainer.train(trainings.settings(changes), workdir, watch=watch)
    assert outcome.finished == (int(stop) == 0), outcome
    print(name, outcome.step)
"""
STEPS, BATCH = 20, 32
# Every batch of 32 holds 8 people of 11, so that all have positives.
COMMON = {
    "batch.size": BATCH,
    "batch.sampler": "identities",
    "epochs": 10,
    "optimizer.clip_norm": 5.0,
    "optimizer.ema": 0.9,
    "checkpoint.every_steps": 100,
}
RUNS = {
    "classification": {},
    # Whose state holds a feature of every training image.
    "goat64": {
        "goat.enabled": True,
        "goat.push": 2,
        "goat.pull": 2,
        "goat.steps": 3,
        "goat.guide_bank": True,
        "model.dtype": "float64",
    },
}
WHOLE = [(1, 1, 0)]
# (devices of a process, processes, the step that is done when a request to stop comes)
ELASTIC = [(4, 1, 5), (1, 2, 10), (1, 1, 15), (2, 2, 0)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_data, compiled):
    """A folder with whole/RUN and elastic/RUN, their work directories."""
    folder = tmp_path_factory.mktemp("elastic")
    runs = {
        name: {**COMMON, **changes, "dataset.data_dir": str(tiny_data)}
        for name, changes in RUNS.items()
    }
    for name, layouts in {"whole": WHOLE, "elastic": ELASTIC}.items():
        for run in RUNS:
            (folder / name / run).mkdir(parents=True)
        for devices, processes, stop in layouts:
            port = trainings.free_port()
            started = [
                subprocess.Popen(
                    [
                        *(sys.executable, "-c", CODE, str(devices), str(process), str(processes)),
                        *(str(port), str(folder / name), str(stop), json.dumps(runs)),
                    ],
                    env=trainings.environment(compiled, devices=devices),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for process in range(processes)
            ]
            trainings.finish(*started)
    return folder


def examples(workdir):
    """What each step learned from: the dataset positions of its whole batch."""
    first, second = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.exists()
        else []
        for path in (workdir / f"examples-{process}.jsonl" for process in (0, 1))
    )
    others = iter(second)
    steps = [rows if len(rows) == BATCH else rows + next(others) for rows in first]
    assert not list(others)
    return steps


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_same_examples_in_the_same_order(trained, run):
    whole, elastic = (examples(trained / name / run) for name in ("whole", "elastic"))
    assert [len(rows) for rows in whole] == STEPS * [BATCH]
    np.testing.assert_array_equal(elastic, whole)


@pytest.mark.slow
# Measured: see `test_layouts`, whose bounds these are.
@pytest.mark.parametrize(("run", "tolerance"), [("classification", 1e-4), ("goat64", 1e-6)])
def test_the_same_run_up_to_rounding(trained, run, tolerance):
    whole, elastic = (trained / name / run for name in ("whole", "elastic"))
    assert trainings.steps(elastic) == list(range(1, STEPS + 1))  # none missing, none twice
    losses = [[line["loss"] for line in trainings.lines(path)] for path in (whole, elastic)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)
    assert losses[1][-1] < 0.99 * losses[1][0]
    (step, expected, _), (other, found, _) = map(trainings.last_checkpoint, (whole, elastic))
    assert step == other == STEPS
    assert found.notes["batches"] == expected.notes["batches"]
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].shape == array.shape, name
        if name.startswith(("params", "average")):
            scale = np.abs(array).max()
            np.testing.assert_allclose(found.arrays[name], array, atol=1e-3 * scale, err_msg=name)
