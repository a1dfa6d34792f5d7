"""What two real processes send each other arrives as it was, to the last bit."""

import subprocess
import sys

import pytest
import trainings

SCRIPT = """
import sys

import jax
import ml_dtypes
import numpy as np

process, port = int(sys.argv[1]), sys.argv[2]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", 2, process)
from jaxreid.sharding import from_first_process, gathered, summed_over_processes

# None of these is a float32 or an int32.
first = {
    "float64": np.array([[1 / 3, -0.0], [1e300, 5e-324]]),
    "float32": np.array([-0.0, 1e-45, np.nan, np.inf], np.float32),
    "bfloat16": np.array([0.1, -0.0, 3.0], ml_dtypes.bfloat16),
    "int64": np.array(2**40 + 1),
    "uint8": np.arange(5, dtype=np.uint8),
    "bool": np.array([True, False, True]),
    "nothing": np.zeros((0, 3)),
}
mine = first if process == 0 else jax.tree.map(np.ones_like, first)
found = from_first_process(mine)
assert found.keys() == first.keys()
for name, expected in first.items():
    assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape), name
    assert found[name].tobytes() == expected.tobytes(), name

# Two batches of two rows, of which each process has one; the last row is padding.
rows = np.array([[1 / 3], [-0.0], [2.0**40 + 2.0**-10], [0.0]])
parts = [rows[process : process + 1], rows[2 + process : 3 + process]]
joined = gathered(parts, 3)
assert joined.dtype == np.float64
assert joined.tobytes() == rows[:3].tobytes()
summed = summed_over_processes(np.array([2**40 + process, process]))
assert summed.dtype == np.int64
assert summed.tolist() == [2**41 + 1, 1]
"""


@pytest.mark.slow
def test_arrays_of_all_kinds_arrive_bit_by_bit(compiled):
    port = trainings.free_port()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(process), str(port)],
            env=trainings.environment(compiled),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in (0, 1)
    ]
    trainings.finish(*both)
