"""module:name on the command line: an object of the user's own."""

import contextlib
import hashlib
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxreid.errors import InputError, did_you_mean

__all__ = ["hash_of_source", "named_object"]


def named_object(place: str, spec: str) -> tuple[ModuleType, Any]:
    """The module and the object that module:name stands for; `spec` is what messages name."""
    module_name, _, name = place.partition(":")
    module = _imported(module_name, spec)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = did_you_mean(part, dir(found))
            raise InputError(
                f"{spec}: {module_name} has no {name!r}{near and f'; {near}'}"
            ) from None
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{spec}: reading {part!r} failed: {type(error).__name__}: {error}"
            ) from error
    return module, found


def _imported(name: str, spec: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        # What a module prints is no result of the command.
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"{spec}: no such file, and no module {error.name!r} in {os.getcwd()}"
            ) from None
        raise InputError(f"{spec}: {name} needs a module that is missing: {error}") from error
    # Ctrl-C, which may come at any moment.
    except KeyboardInterrupt:
        raise
    # The user's module may raise anything, SystemExit too.
    except BaseException as error:
        raise InputError(
            f"{spec}: importing {name} failed: {type(error).__name__}: {error}"
        ) from error


def hash_of_source(module: ModuleType) -> str:
    """SHA-256 of the module's file: weights that it reads from elsewhere are not in it."""
    file = getattr(module, "__file__", None)
    try:
        content = Path(file).read_bytes() if file else module.__name__.encode()
    except OSError:
        content = module.__name__.encode()
    return hashlib.sha256(content).hexdigest()
