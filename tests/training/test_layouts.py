"""The same loss curve however the batch is spread over devices and processes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import trainings

# Reads {run: fields} and trains them one after the other, in float64 where a run says so.
CODE = """
import json
import sys
from pathlib import Path

import jax

devices, process, port, workdir, runs = sys.argv[1:]
if port != "0":
    from jaxreid.distributed import initialize

    initialize(f"localhost:{port}", 2, int(process))
import trainings
from jaxreid.benchmark.training_loop import cost_of_step
from jaxreid.training.trainer import train

assert jax.device_count() == int(devices)
for name, changes in json.loads(runs).items():
    jax.config.update("jax_enable_x64", changes.get("model.dtype") == "float64")
    train(trainings.settings(changes), Path(workdir) / name)
jax.config.update("jax_enable_x64", False)
flops = cost_of_step(trainings.settings(json.loads(runs)["classification"])).flops
if process == "0":
    (Path(workdir) / "flops").write_text(str(flops))
"""
# Every batch of 32 holds 8 people of 11, so that all have positives; 20 steps.
COMMON = {
    "batch.size": 32,
    "batch.sampler": "identities",
    "epochs": 10,
    "optimizer.clip_norm": 5.0,
    "checkpoint.every_steps": 100,
}
GOAT = {"goat.enabled": True, "goat.push": 2, "goat.pull": 2, "goat.steps": 3}
RUNS = {
    "classification": {},
    "triplet": trainings.TRIPLET,
    "goat64": {**GOAT, "model.dtype": "float64"},
    "goat": GOAT,
}
LAYOUTS = {"one device": (1, 1), "four devices": (4, 1), "two processes": (2, 2)}


def runs_of(layout):
    return [name for name in RUNS if name != "goat" or layout != "two processes"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_data, compiled):
    """A folder with LAYOUT/RUN, their work directories, and LAYOUT/flops."""
    folder = tmp_path_factory.mktemp("layouts")
    runs = {
        name: {**COMMON, **changes, "dataset.data_dir": str(tiny_data)}
        for name, changes in RUNS.items()
    }
    started = []
    for layout, (devices, processes) in LAYOUTS.items():
        port = trainings.free_port() if processes > 1 else 0
        for process in range(processes):
            wanted = {name: fields for name, fields in runs.items() if name in runs_of(layout)}
            arguments = (devices * processes, process, port, folder / layout, json.dumps(wanted))
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", CODE, *map(str, arguments)],
                    env=trainings.environment(compiled, devices=devices),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
    trainings.finish(*started)
    return folder


@pytest.fixture(scope="module")
def curves(trained):
    """layout -> run -> losses of 20 steps."""
    found = {
        layout: {
            run: [line["loss"] for line in trainings.lines(trained / layout / run)]
            for run in runs_of(layout)
        }
        for layout in LAYOUTS
    }
    assert all(len(curve) == 20 for runs in found.values() for curve in runs.values())
    return found


def drift(curves, layout, run):
    """Largest relative difference to one device."""
    one, other = np.array(curves["one device"][run]), np.array(curves[layout][run])
    return np.max(np.abs(other - one) / one)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["four devices", "two processes"])
@pytest.mark.parametrize("run", ["classification", "triplet", "goat64"])
def test_same_curve(curves, layout, run):
    assert drift(curves, layout, run) < 1e-4
    losses = curves[layout][run]
    assert losses[-1] < 0.99 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["four devices", "two processes"])
def test_double_precision_agrees_much_closer(curves, layout):
    # Measured: 1.1e-9; the classifier's weights are float32 even there.
    assert drift(curves, layout, "goat64") < 1e-6


@pytest.mark.slow
def test_how_far_goat_drifts_in_single_precision(curves):
    # Signs of gradients near zero may turn around with the rounding. Measured over 20 steps: 1e-7
    # with this network, and 9e-4 with one of two stages, where some did.
    assert drift(curves, "four devices", "goat") < 0.05


@pytest.mark.slow
def test_the_work_of_a_step_is_shared_out(trained):
    flops = {layout: float((trained / layout / "flops").read_text()) for layout in LAYOUTS}
    # What does not depend on the batch, such as the optimizer, every device does in full.
    assert 0.2 < flops["four devices"] / flops["one device"] < 0.3
    assert flops["two processes"] == pytest.approx(flops["four devices"], rel=0.01)
