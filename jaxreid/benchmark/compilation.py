"""How long an attack takes to compile, in a process without a cache and in the next one."""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from jaxreid.errors import InputError

__all__ = ["Start", "benchmark_compilation"]

# As it is typed: what is timed is what users wait for.
_JAXREID = [sys.executable, "-c", "from jaxreid.cli import main; main()"]


class Start(NamedTuple):
    """One start of a process.

    Attributes:
        compile_seconds: from the call of the attack to its compiled program, tracing included.
        process_seconds: of the whole process, which also measures its machine's ceilings.
    """

    compile_seconds: float
    process_seconds: float


def benchmark_compilation(
    architecture: str,
    attack: str,
    *,
    size: tuple[int, int],
    stride: int | None = None,
    batch_size: int,
    dtype: str = "float32",
) -> dict[str, Start]:
    """Compiles an attack in a new process with an empty cache, and in another after it.

    Takes what `jaxreid.benchmark.attack.benchmark_attack` takes; gives "empty cache" and "filled
    cache" -> Start.

    Raises:
        InputError: a process ended with an error; the message is its own.
    """
    height, width = size
    given = {
        "--architecture": architecture,
        "--attack": attack,
        "--size": f"{height}x{width}",
        "--batch": str(batch_size),
        "--dtype": dtype,
        "--steps": "1",
        "--repeats": "1",
    }
    if stride is not None:
        given["--stride"] = str(stride)
    words = [word for pair in given.items() for word in pair]
    command = [*_JAXREID, "benchmark", "attack", "--no-rivals", "--json"]
    starts: dict[str, Start] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty cache", "filled cache"):
            started = time.perf_counter()
            done = subprocess.run(
                [*command, *words],
                env={**os.environ, "JAX_COMPILATION_CACHE_DIR": folder},
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - started
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["it said nothing"]
                raise InputError(f"compiling in a process of its own failed: {lines[-1]}")
            starts[name] = Start(json.loads(done.stdout)["compile_seconds"], seconds)
    return starts
