"""Where compiled programs are kept from one run to the next."""

import os
from pathlib import Path

__all__ = ["VARIABLE", "cache_folder", "keep_compiled"]

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


def keep_compiled() -> None:
    """Lets JAX keep compiled programs in `cache_folder`, unless the user decided about it.

    A folder that cannot be written to costs a warning of JAX's and nothing else.
    """
    import jax

    if VARIABLE not in os.environ and not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
