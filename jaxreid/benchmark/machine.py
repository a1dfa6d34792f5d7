"""What this machine is, and the two ceilings that no program on it passes."""

import datetime
import importlib.metadata
import importlib.util
import platform
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.benchmark.timing import interleave

__all__ = ["Ceilings", "describe_machine", "measure_ceilings"]

_PACKAGES = ("jax", "jaxlib", "flax", "torch", "foolbox")


class Ceilings(NamedTuple):
    """What one device does at best.

    Attributes:
        flops: of a large matrix product, per second.
        bytes: read and written by an addition to a large array, per second.
    """

    flops: float
    bytes: float


def measure_ceilings(dtype: str, *, repeats: int = 5) -> Ceilings:
    """Times a matrix product and a copy on the default device.

    Args:
        dtype: "float32" or "bfloat16".
        repeats: timed rounds; the fastest counts, for this is a ceiling.

    Returns:
        The ceilings.
    """
    cpu = jax.default_backend() == "cpu"
    side, length, passes = (2048, 1 << 24, 4) if cpu else (8192, 1 << 28, 16)
    matrix = jnp.ones((side, side), dtype)
    vector = jnp.zeros(length, dtype)
    product = jax.jit(lambda a: a @ a)
    # In one loop, so that no pass pays for fresh memory.
    copies = jax.jit(lambda v: jax.lax.fori_loop(0, passes, lambda _, v: v + 1, v))
    times = interleave(
        {"product": lambda: product(matrix), "copy": lambda: copies(vector)}, repeats=repeats
    )
    return Ceilings(
        2 * side**3 / min(times["product"].runs),
        2 * passes * vector.nbytes / min(times["copy"].runs),
    )


def describe_machine() -> dict[str, Any]:
    """Date, hardware and versions, to stand beside figures.

    Returns:
        Words and numbers, ready for JSON.
    """
    installed = [name for name in _PACKAGES if importlib.util.find_spec(name)]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.local_device_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in installed},
    }


def _processor() -> str:
    """The model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
