"""Where configuration files are, and how one is run."""

import contextlib
import difflib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import jaxreid
from jaxreid.errors import InputError

__all__ = ["find", "folder", "run"]

# Files of the bundled folder that presets are made of.
_PIECES = ("recipes",)


def folder() -> Path:
    """Finds the bundled presets: inside an installed package, or beside the package's sources.

    Returns:
        The folder of default.py.

    Raises:
        InputError: the installation has none.
    """
    package = Path(jaxreid.__file__).parent
    for place in (package / "configs", package.parent / "configs"):
        if (place / "default.py").is_file():
            return place
    raise InputError(f"this installation of jaxreid has no presets beside {package}; reinstall it")


def _names() -> list[str]:
    return sorted(p.stem for p in folder().glob("*.py") if p.stem not in _PIECES)


def find(config: str) -> Path:
    """Finds a configuration file.

    Args:
        config: a path to a .py file, or the name of a bundled preset.

    Returns:
        The file.

    Raises:
        InputError: there is none; the message suggests the nearest preset.
    """
    path = Path(config).expanduser()
    if path.suffix == ".py":
        if path.is_file():
            return path.absolute()
        near = difflib.get_close_matches(path.stem, _names(), n=1)
        hint = f"; there is a bundled preset {near[0]}: --config {near[0]}" if near else ""
        raise InputError(f"no config file {config}{hint}")
    if config in _names():
        return folder() / f"{config}.py"
    near = difflib.get_close_matches(config, _names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"bundled are those in {folder()}"
    raise InputError(f"no preset {config}; {hint} (your own needs its path, ending in .py)")


@contextlib.contextmanager
def _importable(*folders: Path) -> Iterator[None]:
    """Lets a file import its neighbours, and forgets them afterwards.

    The names of presets are ordinary words: one that stayed in `sys.modules` could be taken for
    another library's module, and a second preset of the same name for the first.
    """
    places = {str(place) for place in folders}
    bundled = {path.stem for path in folder().glob("*.py")}
    hidden = {name: sys.modules.pop(name) for name in bundled & sys.modules.keys()}
    before, path, silent = set(sys.modules), sys.path, sys.dont_write_bytecode
    sys.path = [*dict.fromkeys(map(str, folders)), *path]
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path, sys.dont_write_bytecode = path, silent
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and str(Path(file).parent) in places:
                del sys.modules[name]
        sys.modules.update(hidden)


def _where(error: BaseException, path: Path) -> str:
    """The deepest line of the file itself that an error came through."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return str(path) if line is None else f"{path}, line {line}"


def run(path: Path) -> ConfigDict:
    """Runs a configuration file: its `get_config()`.

    The file may import its neighbours and the bundled presets: `from default import get_config`.

    Args:
        path: a Python file.

    Returns:
        What its `get_config` returned.

    Raises:
        InputError: the file cannot be read, is no Python, raises, or makes no configuration.
    """
    module = types.ModuleType("jaxreid_config")
    module.__file__ = str(path)
    with _importable(path.parent, folder()):
        try:
            exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
            get_config = getattr(module, "get_config", None)
            if not callable(get_config):
                raise InputError(f"{path} must define get_config(), which returns a ConfigDict")
            made: Any = get_config()
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            text = error.msg if isinstance(error, SyntaxError) else str(error)
            kind = type(error).__name__
            raise InputError(f"{_where(error, path)}: {kind}: {text}") from error
    if not isinstance(made, ConfigDict):
        raise InputError(
            f"get_config() of {path} must return an ml_collections.ConfigDict; got "
            f"{type(made).__name__}"
        )
    return made
