"""Compilation takes longer than anything else here: none of it twice."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def _quick_compilation(compiled):
    changes = {
        "jax_compilation_cache_dir": str(compiled),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: jax.config._read(name) for name in changes}
    for name, value in changes.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
