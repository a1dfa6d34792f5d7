"""What tests of training share: a tiny network, quick settings, runs of the real command line."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from jaxreid.cli.configuration import load
from jaxreid.models import ARCHITECTURES, ResNetConfig, ViTConfig
from jaxreid.training import TrainBatch
from jaxreid.training.checkpoints import Checkpoints

ROOT = Path(__file__).parents[1]
SHAPE = ResNetConfig(
    block="basic", depths=(1,), widths=(8,), expansion=1, stem="patch", stem_width=8
)
# The smallest that learns to tell people apart in seconds, and is then fooled.
NARROW = ResNetConfig(
    block="basic", depths=(1, 1), widths=(16, 32), expansion=1, stem="patch", stem_width=16
)
QUICK = {
    "dataset.name": "synthetic_reid/tiny",
    "dataset.size": (32, 16),
    "batch.size": 8,
    "model.architecture": "tiny",
    "augmentation.pad": 2,
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.003,
    "schedule.name": "constant",
    "schedule.warmup_epochs": 0.0,
    "goat.steps": 2,
    "evaluation.every_epochs": 0,
    "log_every_steps": 1,
    "epochs": 1,
}
TRIPLET = {
    "batch.sampler": "identities",
    "model.head": "triplet",
    "model.dimensions": 16,
    "loss.name": "triplet",
}
COMMAND = "import trainings; trainings.register(); from jaxreid.cli import main; main()"
# For one that is to be killed: however late that comes, it is not at its end.
HELD = f"import trainings; trainings.hold_at(28); {COMMAND}"


def register():
    """Makes the small networks known by name."""
    ARCHITECTURES["tiny"] = SHAPE
    ARCHITECTURES["narrow"] = NARROW
    ARCHITECTURES["tiny_vit"] = ViTConfig(width=32, depth=1, heads=2, patch=8)


def examples(labels, *, indices=None, images=None, seed=0):
    """A batch without pushing guides, of noise if no images are given."""
    rows = len(labels)
    if images is None:
        images = np.random.default_rng(seed).uniform(size=(rows, 16, 8, 3)).astype(np.float32)
    indices = np.arange(rows, dtype=np.int32) if indices is None else indices
    none, empty = np.zeros((rows, 0, 16, 8, 3), np.float32), np.zeros((rows, 0), np.int32)
    return TrainBatch(images, labels, indices, none, empty, empty.astype(bool))


def hold_at(last):
    """Lets a training of this process wait at a step, once its line is written."""
    from jaxreid.training.monitoring import MetricWriter

    write = MetricWriter.write

    def held(self, kind, *, step, **line):
        write(self, kind, step=step, **line)
        while step >= last:
            time.sleep(1)

    MetricWriter.write = held


def words(changes):
    """QUICK with changes, as words of the command line."""
    return [f"--config.{field}={value}" for field, value in {**QUICK, **changes}.items()]


def settings(changes):
    """The same as a configuration."""
    register()
    return load("synthetic", words(changes))


def environment(compiled, *, devices=1, **variables):
    """Of a process with so many devices that finds these sources, and what others compiled."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "JAXREID_", "SLURM_"))}
    return {
        **kept,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # Compiling takes longer than training here; unoptimised it takes half as long.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT), *sys.path]),
        **{name: str(value) for name, value in variables.items()},
    }


def start(workdir, changes, *options, code=COMMAND, env):
    """A process of `jaxreid train`."""
    named = ("--config", "synthetic", "--workdir", workdir)
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", *map(str, (*named, *words(changes), *options))],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes, code=0):
    """What processes wrote to standard error, after they ended with a code."""
    written = []
    try:
        for process in processes:
            _, errors = process.communicate(timeout=900)
            assert process.returncode == code, errors
            written.append(errors)
    finally:
        for process in processes:
            process.kill()
    return written if len(written) > 1 else written[0]


def free_port():
    """A port that nobody listens to."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def child(workdir, process):
    """The process id of a process that local.sh started on a work directory."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environment.read_bytes().split(b"\0")
            words = (environment.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"JAXREID_PROCESS={process}".encode() in variables and str(workdir).encode() in words:
            return int(environment.parent.name)
    raise AssertionError(f"no process {process} of {workdir}")


def last_checkpoint(workdir):
    """Step, what was saved, and warnings."""
    checkpoints = Checkpoints(workdir / "checkpoints", keep=50)
    found = checkpoints.newest()
    checkpoints.close()
    return found


def lines(workdir, kind="train"):
    """Lines of metrics.jsonl; one that is being written is left out."""
    path = Path(workdir) / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = [json.loads(line) for line in text.split("\n")[:-1]]
    return [line for line in found if line["kind"] == kind]


def steps(workdir):
    """Steps that metrics.jsonl tells of."""
    return [line["step"] for line in lines(workdir)]


def without_clock(workdir):
    """Lines of steps, but for what a clock measured."""
    times = ("images_per_second", "waiting_for_data")
    return [
        {name: value for name, value in line.items() if name not in times}
        for line in lines(workdir)
    ]
