"""What a machine is, before anything is measured on it.

    python benchmarks/versions.py out/versions.json

Writes the date, the processors, JAX's devices with their memory, and the versions of what a
benchmark may import.
"""

import importlib.metadata
import os
import sys
from pathlib import Path

from record import machine, words_of, write_json

PACKAGES = ("numpy", "optax", "orbax-checkpoint", "jaxtyping", "grain", "triton", "pytest")


def main() -> None:
    """Writes the file."""
    import jax

    date, hardware, versions = machine()
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found = {
        "date": date,
        "machine": hardware,
        "versions": versions,
        "devices": [str(device) for device in jax.devices()],
        "memory": [(device.memory_stats() or {}).get("bytes_limit") for device in jax.devices()],
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("XLA_", "JAX_", "CUDA_", "NVIDIA_"))
        },
    }
    write_json(Path(sys.argv[1]), found)
    print(f"{hardware}; {words_of(versions)}")


if __name__ == "__main__":
    main()
