"""How the commands have programs compiled, and where these are kept from one run to the next."""

import importlib.metadata
import os
from pathlib import Path

__all__ = ["VARIABLE", "cache_folder", "set_up_compiler"]

_FLAGS = {
    # Eigen computes products: inside an attack's loop YNNPACK is slower.
    "--xla_cpu_experimental_ynn_fusion_type": "",
    # One operation after the other, each on all cores, while its operands are in the cache.
    "--xla_cpu_enable_concurrency_optimized_scheduler": "false",
}

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""The environment variable by which users name the folder; empty for none."""


def cache_folder() -> Path | None:
    """Finds the folder of compiled programs.

    Returns:
        What $JAX_COMPILATION_CACHE_DIR says, or ~/.cache/jaxreid where it says nothing; None where
        it is empty.
    """
    named = os.environ.get(VARIABLE)
    if named is None:
        return Path("~/.cache/jaxreid").expanduser()
    return Path(named) if named else None


def set_up_compiler() -> None:
    """Decides how JAX compiles, wherever the user did not; before JAX is asked for devices."""
    _set_flags()
    _keep_compiled()


def _set_flags() -> None:
    """Sets the flags of XLA's CPU backend that were measured to pay, unless the user set them.

    They are jaxlib 0.10's. Other versions are left alone: XLA ends the process on a flag that it
    does not know.
    """
    if not importlib.metadata.version("jaxlib").startswith("0.10."):
        return
    flags = os.environ.get("XLA_FLAGS", "")
    ours = [f"{name}={value}" for name, value in _FLAGS.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join(filter(None, [flags, *ours]))


def _keep_compiled() -> None:
    """Lets JAX keep compiled programs in `cache_folder`, unless the user decided about it.

    A folder that cannot be written to costs a warning of JAX's and nothing else.
    """
    import jax

    if VARIABLE not in os.environ and not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
