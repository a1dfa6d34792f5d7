"""jaxreid: attack, measure and defend person re-identification models in JAX."""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_MODULES = ("attacks", "data", "distances", "guides", "losses", "models", "ranking", "types")

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> ModuleType:
    """Imports a submodule on first use, so that `import jaxreid` needs neither Flax nor TFDS."""
    if name in _MODULES:
        return importlib.import_module(f"jaxreid.{name}")
    raise AttributeError(f"module 'jaxreid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
