"""What a machine is, before anything is measured on it.

    python benchmarks/versions.py out/versions.json --accelerator

Writes the date, the processors, JAX's devices with their memory, and the versions of what a
benchmark may import. With --accelerator it exits with 2, and writes nothing, where JAX finds none:
it would go on with the CPU without a word.
"""

import argparse
import importlib.metadata
import os
import sys
from pathlib import Path

from record import machine, rehearsed, words_of, write_json

PACKAGES = ("numpy", "optax", "orbax-checkpoint", "jaxtyping", "grain", "triton", "pytest")
ACCELERATORS = ("gpu", "tpu")


def backend() -> str:
    """JAX's platform, or why it has none."""
    import jax

    try:
        return jax.default_backend()
    # JAX asserts that it found one of those it was told to use.
    except (RuntimeError, AssertionError) as error:
        asked = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        return f"nothing ({' '.join(str(error).split()) or asked})"


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    parser.add_argument("--accelerator", action="store_true", help="exit with 2 if there is none")
    given = parser.parse_args()
    if given.accelerator and (found := backend()) not in ACCELERATORS:
        print(f"JAX finds no accelerator here: it uses {found}", file=sys.stderr)
        sys.exit(2)
    import jax

    date, hardware, versions = machine()
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    about = {
        **rehearsed(),
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
    write_json(given.record, about)
    print(f"{hardware}; {words_of(versions)}")


if __name__ == "__main__":
    main()
