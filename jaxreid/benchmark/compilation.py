"""How long a process waits before its first attack, and how long the next process does."""

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
    batch_size: int,
    dtype: str = "float32",
) -> dict[str, Start]:
    """Compiles an attack in a new process with an empty cache, and in another after it.

    Args:
        architecture: see `jaxreid.benchmark.attack.benchmark_attack`.
        attack: see `jaxreid.benchmark.attack.benchmark_attack`.
        size: see `jaxreid.benchmark.attack.benchmark_attack`.
        batch_size: see `jaxreid.benchmark.attack.benchmark_attack`.
        dtype: see `jaxreid.benchmark.attack.benchmark_attack`.

    Returns:
        "empty cache" and "filled cache" -> Start.

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
