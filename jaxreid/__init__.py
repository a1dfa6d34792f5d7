"""jaxreid: attack, measure and defend person re-identification models in JAX.

`import jaxreid` imports no JAX: each name below is fetched from its home on first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers and editors see; a test holds it to _NAMES_OF
    from jaxreid import attacks as attacks
    from jaxreid import augmentation as augmentation
    from jaxreid import data as data
    from jaxreid import distances as distances
    from jaxreid import evaluation as evaluation
    from jaxreid import guides as guides
    from jaxreid import losses as losses
    from jaxreid import models as models
    from jaxreid import ranking as ranking
    from jaxreid import records as records
    from jaxreid import report as report
    from jaxreid import training as training
    from jaxreid import types as types
    from jaxreid.attacks import ATTACKS as ATTACKS
    from jaxreid.attacks import AttackInput as AttackInput
    from jaxreid.attacks import example_keys as example_keys
    from jaxreid.attacks import fgsm as fgsm
    from jaxreid.attacks import fna as fna
    from jaxreid.attacks import ifgsm as ifgsm
    from jaxreid.attacks import l2 as l2
    from jaxreid.attacks import linf as linf
    from jaxreid.attacks import mifgsm as mifgsm
    from jaxreid.attacks import nna as nna
    from jaxreid.attacks import noise as noise
    from jaxreid.attacks import odfa as odfa
    from jaxreid.attacks import projected_ascent as projected_ascent
    from jaxreid.attacks import sma as sma
    from jaxreid.attacks import unchecked as unchecked
    from jaxreid.errors import InputError as InputError
    from jaxreid.models import Embedding as Embedding
    from jaxreid.models import embedding as embedding
    from jaxreid.models import weights as weights
    from jaxreid.models.weights import load as load
    from jaxreid.models.weights import save as save
    from jaxreid.ranking import evaluate as evaluate
    from jaxreid.ranking import summarize as summarize
    from jaxreid.types import Embedded as Embedded

__version__ = "0.1.0"

_NAMES_OF = {
    "jaxreid": "attacks augmentation data distances evaluation guides losses models ranking "
    "records report training types",
    "jaxreid.attacks": "ATTACKS AttackInput example_keys fgsm fna ifgsm l2 linf mifgsm nna noise "
    "odfa projected_ascent sma unchecked",
    "jaxreid.errors": "InputError",
    "jaxreid.models": "Embedding embedding weights",
    "jaxreid.models.weights": "load save",
    "jaxreid.ranking": "evaluate summarize",
    "jaxreid.types": "Embedded",
}
_HOMES = {name: home for home, names in _NAMES_OF.items() for name in names.split()}

__all__ = sorted(["__version__", *_HOMES])


if not TYPE_CHECKING:  # so that a type checker refuses what is not in the facade

    def __getattr__(name: str) -> object:
        """Fetches a name of the facade from its home (PEP 562)."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'jaxreid' has no attribute {name!r}")
        if home == "jaxreid":
            return importlib.import_module(f"jaxreid.{name}")
        return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
