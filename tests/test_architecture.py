"""The house: which room may import which, what every public name says, what the README lists."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxreid

PACKAGE = Path(jaxreid.__file__).parent
README = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")

# Floors from the ground up: a room may import rooms of lower floors and itself, nothing else.
FLOORS = (
    ("constants", "errors", "types"),
    ("distributed", "exchange", "locks", "staging"),
    ("files",),
    ("checks", "precision", "records"),
    ("distances", "random"),
    ("attacks", "augmentation", "data", "guides", "losses", "models", "ranking"),
    ("evaluation",),
    ("training",),
    ("benchmark", "report"),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(PACKAGE)], "jaxreid."))


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(path: Path) -> set[str]:
    """Rooms of jaxreid that a file imports, wherever in the file it does."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {room_of(name) for name in names if name.startswith("jaxreid.")}
    return rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_arrows_point_down(path):
    relative = path.relative_to(PACKAGE)
    if str(relative) == "__init__.py":
        assert imports_of(path) == set()
        return
    own = relative.with_suffix("").parts[0]
    assert own in FLOOR_OF, f"{relative} is in no known room"
    for other in imports_of(path) - {own}:
        assert FLOOR_OF[other] < FLOOR_OF[own], f"{relative} imports jaxreid.{other}"


@pytest.mark.parametrize("room", ["data", "records", "report"])
def test_rooms_that_hold_no_jax(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        source = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(source):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"jax", "flax", "optax"}, path


def documented(module, name):
    """The object and what kind of thing it is, for the docstring rules."""
    thing = getattr(module, name)
    if inspect.isclass(thing):
        return thing, "class"
    return thing, "function" if inspect.isroutine(thing) else "value"


def has_arguments(function) -> bool:
    return any(name not in ("self", "cls") for name in inspect.signature(function).parameters)


def returns_something(function) -> bool:
    return inspect.signature(function).return_annotation not in (None, "None", inspect._empty)


def complaints(name: str, function) -> list[str]:
    text = inspect.getdoc(function) or ""
    missing = [] if text else [f"{name} has no docstring"]
    if has_arguments(function) and "Args:" not in text:
        missing.append(f"{name} takes arguments but has no Args:")
    if returns_something(function) and not re.search(r"Returns:|Yields:", text):
        missing.append(f"{name} returns something but has no Returns:")
    return missing


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name):
    if name.endswith(".torch_rival"):
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
    missing = []
    for public in module.__all__:
        thing, kind = documented(module, public)
        if kind == "function" and not hasattr(thing, "callback"):  # click commands have help texts
            missing += complaints(f"{name}.{public}", thing)
        elif kind == "class":
            missing += [] if thing.__doc__ else [f"{name}.{public} has no docstring"]
            if thing.__doc__ and thing.__module__ != name:
                continue
            for attribute, method in vars(thing).items():
                if inspect.isfunction(method) and not attribute.startswith("_"):
                    missing += complaints(f"{name}.{public}.{attribute}", method)
    assert missing == []


def test_readme_lists_exactly_the_public_names():
    rows = dict(re.findall(r"^\| `(jaxreid[\w.]*)` \| ([^|\n]*) \|$", README, re.MULTILINE))
    assert {"jaxreid.attacks", "jaxreid.guides", "jaxreid.losses", "jaxreid.ranking"} <= set(rows)
    for module, cell in rows.items():
        names = re.findall(r"`([^`]+)`", cell)
        public = importlib.import_module(module).__all__
        assert sorted(names) == sorted(public), module


def test_importing_jaxreid_is_light():
    heavy = ["flax", "grain", "tensorflow_datasets", "torch", "matplotlib", "tensorflow"]
    code = (
        "import sys, jaxreid, jaxreid.attacks, jaxreid.guides, jaxreid.losses, jaxreid.ranking, "
        f"jaxreid.data; print([m for m in {heavy} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_help_does_not_wait_for_jax():
    code = (
        "import sys; from jaxreid.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('jax' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip().endswith("False")
