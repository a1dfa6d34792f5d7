"""The house: which room may import which, how large its pieces are, what every public name says."""

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
API = (PACKAGE.parent / "docs" / "api.md").read_text(encoding="utf-8")

# Floors from the ground up: a room may import rooms of lower floors and itself, nothing else.
FLOORS = (
    ("constants", "errors", "pytrees", "types"),
    ("collectives", "distributed", "locks", "processors"),
    ("budgets", "cameras", "files"),
    ("checks", "precision", "records"),
    ("distances", "random", "sharding"),
    ("attacks", "augmentation", "data", "guides", "losses", "models", "ranking"),
    ("evaluation",),
    ("training",),
    ("benchmark", "report"),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(PACKAGE)], "jaxreid."))
# The modules of the reference, each with the names that it lists.
PUBLIC = dict(re.findall(r"^\| `(jaxreid[\w.]*)` \| ([^|\n]*) \|$", API, re.MULTILINE))

LONGEST_FILE, LONGEST_BODY, MOST_POSITIONAL = 300, 40, 6


def room_of(module: str) -> str:
    return module.split(".")[1]


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules_of(tree: ast.AST, path: Path) -> set[str]:
    """All that a file imports from, by module and by module.name, wherever in the file it does."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imports_of(tree: ast.AST, path: Path) -> set[str]:
    """Rooms of jaxreid that a file imports, wherever in the file it does."""
    return {room_of(name) for name in modules_of(tree, path) if name.startswith("jaxreid.")}


def module_of(path: Path) -> str:
    return ".".join(("jaxreid", *path.relative_to(PACKAGE).with_suffix("").parts))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_arrows_point_down(path):
    relative = path.relative_to(PACKAGE)
    if named(path) == "__init__.py":
        return
    own = relative.with_suffix("").parts[0]
    assert own in FLOOR_OF, f"{relative} is in no known room"
    for other in imports_of(parsed(path), path) - {own}:
        assert FLOOR_OF[other] < FLOOR_OF[own], f"{relative} imports jaxreid.{other}"


def test_no_files_import_each_other_in_a_circle():
    """Not even for type checkers, nor inside a function: one can be read without the other."""
    # What only hands names on stands beside the files it names.
    own = {module_of(path): path for path in FILES if path.name != "__init__.py"}
    left = {
        name: modules_of(parsed(path), path) & own.keys() - {name} for name, path in own.items()
    }
    ends = set(left)
    while ends:
        used = set().union(*left.values())
        ends = {name for name, below in left.items() if name not in used or not below & left.keys()}
        left = {name: below for name, below in left.items() if name not in ends}
    assert not left, f"in circles: {sorted(left)}"


def test_the_facade_imports_for_type_checkers_only():
    path = PACKAGE / "__init__.py"
    at_run_time = [
        node
        for node in parsed(path).body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    assert imports_of(ast.Module(at_run_time, []), path) == set()


@pytest.mark.parametrize("room", ["data", "records", "report"])
def test_rooms_that_hold_no_jax(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(parsed(path)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"jax", "flax", "optax"}, path


def functions_of(path: Path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{named(path)}:{node.name}", node


def body_lines(function) -> int:
    """From the first statement to the last, without the docstring."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def positional(function) -> int:
    arguments = [*function.args.posonlyargs, *function.args.args]
    return sum(argument.arg not in ("self", "cls") for argument in arguments)


def test_files_are_short():
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {name for name, count in lines.items() if count > LONGEST_FILE}
    assert long == set()


def test_pytrees_know_their_class():
    """JAX's own registration of dataclasses takes one for another: see `jaxreid.pytrees`."""
    registered = [named(path) for path in FILES if "register_dataclass" in path.read_text("utf-8")]
    assert registered == ["pytrees.py"]  # where it is named, as what is not done


def test_processors_are_counted_in_one_place():
    """Those of the machine are for its description; a process may use fewer."""
    asking = {named(path) for path in FILES if "cpu_count" in path.read_text("utf-8")}
    assert asking == {"processors.py", "benchmark/timing.py", "cli/diagnosis.py"}


def test_functions_are_short():
    functions = [function for path in FILES for function in functions_of(path)]
    long = {name for name, function in functions if body_lines(function) > LONGEST_BODY}
    assert long == set()
    many = {name for name, function in functions if positional(function) > MOST_POSITIONAL}
    assert many == set()


def test_no_exported_name_shadows_a_module():
    """`package.thing` is the module wherever there is a module `package/thing.py`."""
    shadowed = set()
    for name in MODULES:
        package, _, own = name.rpartition(".")
        exported = vars(importlib.import_module(package)).get(own)
        if exported is not None and not inspect.ismodule(exported):
            shadowed.add(name)
    assert shadowed == set()


def documented(module, name):
    """The object and what kind of thing it is, for the docstring rules."""
    thing = getattr(module, name)
    if inspect.isclass(thing) and thing.__module__ != "jaxtyping":
        return thing, "class"
    return thing, "function" if inspect.isroutine(thing) else "value"


def has_arguments(function) -> bool:
    return any(name not in ("self", "cls") for name in inspect.signature(function).parameters)


def returns_something(function) -> bool:
    return inspect.signature(function).return_annotation not in (None, "None", inspect._empty)


def complaints(name: str, function, sections: bool) -> list[str]:
    text = inspect.getdoc(function) or ""
    missing = [] if text else [f"{name} has no docstring"]
    if sections and has_arguments(function) and "Args:" not in text:
        missing.append(f"{name} takes arguments but has no Args:")
    if sections and returns_something(function) and not re.search(r"Returns:|Yields:", text):
        missing.append(f"{name} returns something but has no Returns:")
    return missing


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name):
    """Everywhere a sentence; in the modules of the reference arguments and results as well."""
    if ".benchmark.torch_" in name:
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
    sections = name in PUBLIC
    missing = []
    for public in module.__all__:
        thing, kind = documented(module, public)
        if kind == "function" and not hasattr(thing, "callback"):  # click commands have help texts
            missing += complaints(f"{name}.{public}", thing, sections)
        elif kind == "class" and thing.__module__.startswith("jaxreid."):
            missing += [] if thing.__doc__ else [f"{name}.{public} has no docstring"]
            for attribute, method in vars(thing).items():
                # What a method of somebody else's class takes and returns is said there.
                inherited = any(attribute in vars(base) for base in thing.__mro__[1:])
                if inspect.isfunction(method) and not attribute.startswith("_") and not inherited:
                    missing += complaints(f"{name}.{public}.{attribute}", method, sections)
    assert missing == []


def test_the_reference_lists_exactly_the_public_names():
    assert {"jaxreid", "jaxreid.attacks", "jaxreid.guides", "jaxreid.ranking"} <= set(PUBLIC)
    for module, cell in PUBLIC.items():
        names = re.findall(r"`([^`]+)`", cell)
        public = set(importlib.import_module(module).__all__) - {"__version__"}
        assert sorted(names) == sorted(public), module


def test_every_name_of_the_facade_is_its_home_s():
    declared = next(
        node
        for node in parsed(PACKAGE / "__init__.py").body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {node.names[0].asname: node.module for node in declared.body}
    assert seen == jaxreid._HOMES  # a type checker sees what there is
    assert dir(jaxreid) == sorted([*seen, "__version__"])
    for name, home in seen.items():
        thing = getattr(jaxreid, name)
        expected = sys.modules.get(f"{home}.{name}") if inspect.ismodule(thing) else None
        assert thing is (expected or getattr(sys.modules[home], name)), name
    assert jaxreid.attacks.fna is jaxreid.fna
    with pytest.raises(AttributeError, match="nonesuch"):
        jaxreid.nonesuch  # noqa: B018


def test_the_facade_waits_for_nothing():
    code = "import sys, jaxreid; print({m.split('.')[0] for m in sys.modules} & {'jax', 'numpy'})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (
            "attacks guides losses ranking data",
            "flax grain tensorflow_datasets torch matplotlib tensorflow",
        ),
        ("models", "grain tensorflow_datasets array_record torch"),
        # What benchmarks/on_gpu.sh runs where nothing that reads datasets is installed; the command
        # line imports the rest of this when it is used.
        (
            "benchmark.attack benchmark.ranking cli.benchmark cli.tables cli.running",
            "PIL array_record cv2 grain orbax safetensors tensorboardX tensorflow_datasets",
        ),
        ("benchmark.training", "PIL array_record cv2 grain orbax tensorboardX tensorflow_datasets"),
        # Needs what decodes an image as well, but nothing that opens a dataset.
        ("evaluation.worst", "array_record grain tensorboardX tensorflow_datasets torch"),
    ],
    ids=["library", "models", "benchmark", "training", "worst case"],
)
def test_importing_is_light(modules, heavy):
    names = ", ".join(f"jaxreid.{module}" for module in modules.split())
    code = f"import sys, {names}; print(set({heavy.split()}) & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


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
