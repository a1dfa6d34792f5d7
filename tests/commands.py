"""The command line in processes of its own, on one device."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(*words, data, cache, cwd, **options):
    """Starts `jaxreid WORDS`; prepared datasets are in `data`, compiled programs in `cache`."""
    script = "from jaxreid.cli import main; main()"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TFDS_DATA_DIR": str(data),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "XLA_FLAGS": "",
    }
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
        **options,
    )


def ended(process, timeout=600):
    """Waits; gives exit code, standard output and standard error."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, out, err
