"""The command line in this process, and in processes of its own on one device."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from jaxreid.cli import main
from jaxreid.cli.running import jaxreid

ROOT = Path(__file__).parents[1]
WHOLE = "from jaxreid.cli import main; main()"


def above():
    """The context of `jaxreid` itself, in which its commands are to be parsed.

    A command keeps the help option that its first context asked for: without this parent it would
    have no `-h` until the process ends.
    """
    return click.Context(jaxreid, info_name="jaxreid", **jaxreid.context_settings)


def run(capsys, *words):
    """Runs `jaxreid WORDS` in this process; gives exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def start(*words, data, cache, cwd, script=WHOLE, variables=None, **options):
    """Starts `jaxreid WORDS`; prepared datasets are in `data`, compiled programs in `cache`.

    `variables` of the environment win over all others. A script of its own, for networks that take
    longer to compile than to run, is not optimised.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        ),
        "TFDS_DATA_DIR": str(data),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0" if script is WHOLE else "1",
        "XLA_FLAGS": "",
        **(variables or {}),
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


def told_to_stop(process, begun):
    """Sends SIGTERM to a process as soon as a file is there, and waits; gives what it printed."""
    try:
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=60)[0]
    finally:
        process.kill()


EMBEDDING = """
import jax.numpy as jnp
import numpy as np

WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(96, 16)), jnp.float32)


def embed(images):
    b, h, w, _ = images.shape
    small = images.reshape(b, 8, h // 8, 4, w // 4, 3).mean((2, 4))
    return jnp.tanh((small.reshape(b, -1) - 0.5) @ WEIGHTS)
"""
"""A module with an embedding `embed` of 64x32 images that compiles at once and ranks people."""


EMBEDDINGS = """
import jax.numpy as jnp
import numpy as np

DRAWN = [np.random.default_rng(n).normal(size=(96, 16)) for n in range(3)]


def features(images, n):
    b, h, w, _ = images.shape
    small = images.reshape(b, 8, h // 8, 4, w // 4, 3).mean((2, 4))
    return jnp.tanh((small.reshape(b, -1) - 0.5) @ jnp.asarray(DRAWN[n], jnp.float32))


def first(images):
    return features(images, 0)


def second(images):
    return features(images, 1)


def third(images):
    return features(images, 2)
"""
"""A module with three of them, `first`, `second` and `third`."""


def working_folder(folder, monkeypatch, data, **modules):
    """Goes to a folder with modules of the user's, {name: text}; datasets need no flag there."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in modules.items():
        # Each test has a module of its own: Python would remember the first.
        monkeypatch.delitem(sys.modules, name, raising=False)
        (folder / f"{name}.py").write_text(text)
    return folder
