"""Two real processes with two devices each find what one finds, and the first one writes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxreid.records import RunFolder

SCRIPT = """
import sys
from pathlib import Path

import jax

rank, count, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
if count > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", count, rank)
import people
import seeing
from jaxreid.evaluation import (
    LoaderSettings, RetrievalTest, conditions, open_run, provenance_of, robustness, write_images
)

from jaxreid.evaluation.worst import members
from jaxreid.models import embedding

# A few steps in place of the ensemble's own.
first = members.MemberSpec("smooth ap", stages=(members.Stage("smooth_ap", 2),), start="best")
few = (members.MemberSpec("fna", "published", metric="all"), first)
members._TABLES["worst-1-quick", "gallery"] = few
said = provenance_of(title="t", command="c", model={}, dataset={}, settings={})
# The second process sees no folder of the first: as on machines without a shared disk.
run = open_run(out if rank == 0 else out / "nobody", said)
loader = LoaderSettings(people.SIZE, batch_size=8)
wanted = conditions(["sma"], [5], steps=2, restarts=2)
wanted += conditions(["fna"], [5], steps=2, side="gallery", guides="query", eight_bit=True)
images = wanted[-1]
wanted += conditions(["worst-quick"], [5], side="both")
# It is told the cameras of the rows that each device of each process has.
embed = embedding(seeing.network())
for _ in range(2):
    test = RetrievalTest(embed, people.query(), people.gallery(), loader=loader)
    robustness(test, wanted, run=run)
write_images(test, images, out / "images", said)
"""


def run(count: int, out: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    paths = [str(Path(__file__).parents[1]), *sys.path]
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(count), str(port), str(out)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path):
    for count in (1, 2):
        run(count, tmp_path / str(count))
    one, two = (RunFolder.open(tmp_path / name) for name in "12")
    for first, second in zip(one.results(), two.results(), strict=True):
        assert first.condition == second.condition
        assert first.scores == second.scores
    arrays = sorted(path.relative_to(one.path) for path in one.path.rglob("*.npz"))
    assert len(arrays) == 13
    for path in arrays:
        first, second = np.load(one.path / path), np.load(two.path / path)
        for name in first.files:
            if first[name].dtype.kind == "f":
                np.testing.assert_allclose(second[name], first[name], rtol=1e-4, atol=1e-5)
            else:
                np.testing.assert_array_equal(second[name], first[name])
    images = sorted(path.relative_to(one.path) for path in one.path.rglob("*.png"))
    assert len(images) == 12
    for path in images:
        assert (one.path / path).read_bytes() == (two.path / path).read_bytes()
    assert not (two.path / "nobody").exists()
