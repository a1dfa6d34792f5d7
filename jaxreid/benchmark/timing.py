"""Fair timing on shared machines: contestants take turns, ratios are taken pair by pair.

And what the machine is, with the two ceilings that no program on it passes.
"""

import datetime
import importlib.metadata
import importlib.util
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.types import Array

__all__ = [
    "Ceilings",
    "Machine",
    "Timing",
    "describe_machine",
    "interleave",
    "measure_ceilings",
    "ratio",
]

_PACKAGES = ("jax", "jaxlib", "flax", "torch", "foolbox")

# What Linux says of a processor, Intel's and AMD's or ARM's -> its words here.
_NUMBERS = {
    "cpu family": "family",
    "model": "model",
    "stepping": "stepping",
    "CPU implementer": "implementer",
    "CPU part": "part",
}
# Its names of vectors -> their usual ones, widest first.
_VECTORS = {
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "avx": "AVX",
    "sve2": "SVE2",
    "sve": "SVE",
    "asimd": "NEON",
}


class Timing(NamedTuple):
    """Seconds of one contestant.

    Attributes:
        first: seconds of the first call, compilation included.
        runs: seconds of each later call, in order; runs[i] of all contestants were neighbours.
    """

    first: float
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds of the calls after the first."""
        return statistics.median(self.runs)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def interleave(
    contestants: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    on_failure: Callable[[str, Exception], None] | None = None,
) -> dict[str, Timing]:
    """Times callables A B A B ...: a slow minute of the machine then hits all of them.

    JAX results are waited for; the first call of each, which compiles, is kept apart. Who fails, in
    whichever round, is left out once `on_failure` was told; without it, the failure is raised.
    """
    calls, seconds = dict(contestants), {name: list[float]() for name in contestants}
    for _ in range(1 + repeats):
        for name, call in tuple(calls.items()):
            try:
                seconds[name].append(_seconds(call))
            except Exception as error:
                if on_failure is None:
                    raise
                on_failure(name, error)
                del calls[name]
    return {name: Timing(seconds[name][0], tuple(seconds[name][1:])) for name in calls}


def ratio(numerator: Timing, denominator: Timing) -> float:
    """Median over rounds of numerator's seconds / denominator's; both from one `interleave`."""
    pairs = zip(numerator.runs, denominator.runs, strict=True)
    return statistics.median(a / b for a, b in pairs)


class Ceilings(NamedTuple):
    """What devices do at best.

    Attributes:
        flops: of a large matrix product, per second.
        bytes: read and written by an addition to a large array, per second.
    """

    flops: float
    bytes: float


def measure_ceilings(dtype: str, *, devices: int = 1, repeats: int = 5) -> Ceilings:
    """Times a matrix product and an addition on the default device; the fastest round counts.

    So many devices do as many times as much, but for those of a CPU: each of them alone has all of
    its cores and its memory.
    """
    cpu = jax.default_backend() == "cpu"
    side, products, length, passes = (2048, 1, 1 << 24, 4) if cpu else (8192, 8, 1 << 28, 16)
    # Random numbers: a GPU multiplies equal ones faster, as these cost less power. They keep their
    # size from product to product.
    matrix = (jax.random.normal(jax.random.key(0), (side, side)) / math.sqrt(side)).astype(dtype)
    vector = jnp.zeros(length, dtype)

    # Several in one loop: no pass pays for its launch or for fresh memory.
    @jax.jit
    def multiplied(a: Array) -> Array:
        return jax.lax.fori_loop(0, products, lambda _, b: a @ b, a)

    @jax.jit
    def added(v: Array) -> Array:
        return jax.lax.fori_loop(0, passes, lambda _, v: v + 1, v)

    times = interleave(
        {"product": lambda: multiplied(matrix), "addition": lambda: added(vector)}, repeats=repeats
    )
    units = 1 if cpu else devices
    return Ceilings(
        units * 2 * products * side**3 / min(times["product"].runs),
        units * 2 * passes * vector.nbytes / min(times["addition"].runs),
    )


class Machine(NamedTuple):
    """What stands beside measurements.

    Attributes:
        date: of today, in UTC.
        device: kind of the first one.
        devices: of this process.
        processor: number and model of the processors, and where Linux tells, their widest vectors.
        python: its version.
        versions: package -> version, of those that are installed.
    """

    date: str
    device: str
    devices: int
    processor: str
    python: str
    versions: dict[str, str]


def describe_machine() -> Machine:
    """Date, hardware and versions of this machine."""
    installed = [name for name in _PACKAGES if importlib.util.find_spec(name)]
    return Machine(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        device=jax.devices()[0].device_kind,
        devices=jax.local_device_count(),
        processor=_processor(),
        python=platform.python_version(),
        versions={name: importlib.metadata.version(name) for name in installed},
    )


def _processor(listed: Path = Path("/proc/cpuinfo")) -> str:
    """Number and model of the processors, and their widest vectors.

    Machines that are lent call several generations by one name ("AMD EPYC"); their numbers tell
    them apart. From one to the next, a matrix product may take half as long.
    """
    try:
        lines = [line.partition(":") for line in listed.read_text().splitlines()]
    except OSError:  # no Linux
        return f"{os.cpu_count()} x {platform.processor() or platform.machine()}"
    found = [(name.strip(), value.strip()) for name, _, value in lines]
    count, first = sum(name == "processor" for name, _ in found), dict(reversed(found))
    about = [f"{word} {first[name]}" for name, word in _NUMBERS.items() if name in first]
    flags = (first.get("flags") or first.get("Features", "")).split()
    about += [words for flag, words in _VECTORS.items() if flag in flags][:1]
    name = first.get("model name", platform.machine())
    return f"{count or os.cpu_count()} x {name}" + (f" ({', '.join(about)})" if about else "")
