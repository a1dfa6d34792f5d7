"""The configuration of a training run: a preset or a file, then the user's overrides."""

import ast
import dataclasses
import re
import textwrap
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import jaxreid
from jaxreid.errors import InputError, did_you_mean
from jaxreid.training.config import TrainConfig
from jaxreid.training.fields import Field, Value, fields_of, find_field

__all__ = ["describe_fields", "describe_fields_as_markdown", "load", "preset_folder"]

_PREFIX = "--config."

_INTRODUCTION = """\
# Configuration of a training

`jaxreid train --config market1501:goat=fna` runs `get_config("goat=fna")` of the preset
`configs/market1501.py`, and any field can be set after that, as `--config.goat.push=4`. The presets
and the words that each knows; its header says what they do:

{presets}

A file of your own is named by its path:

```python
from jaxreid.training.config import TrainConfig
from jaxreid.training.presets import paper


def get_config(arg: str = "") -> TrainConfig:
    config = paper("market1501", "goat=fna")
    return config.replace({{"epochs": 20, "goat.eps": "0.5/255"}})
```

Below are all fields; `*` marks what may change between a run and its continuation. This page is
written by `jaxreid train --help-config=markdown`, from `jaxreid/training/config.py`."""


def load(config: str, overrides: Sequence[str]) -> TrainConfig:
    """Loads a configuration and applies overrides.

    Args:
        config: a preset or the path of a .py file that defines `get_config`; words behind a colon
            are handed to it, as in `market1501:goat=fna,bank`.
        overrides: words `--config.optimizer.learning_rate=0.001`, or the same as two words; a bare
            `--config.goat.enabled` means true.

    Raises:
        InputError: the file is not found, does not run or makes something else; a field is unknown
            (the message names the nearest one), of the wrong type or out of range.
    """
    name, arg = _split(config)
    if name.endswith(".py"):
        made = _run(_file(name), arg)
    else:
        made = _run(_preset(name), arg, bundled=True)
    changes: dict[str, Value] = {}
    for field, text in _pairs(overrides):
        changes[field.name] = field.check(field.parse(text))
    return made.replace(changes)


def preset_folder() -> Path:
    """The folder of the presets: inside an installed package, or beside the package's sources."""
    package = Path(jaxreid.__file__).parent
    for place in (package / "configs", package.parent / "configs"):
        if (place / "synthetic.py").is_file():
            return place
    raise InputError(f"this installation of jaxreid has no presets beside {package}; reinstall it")


def _split(config: str) -> tuple[str, str]:
    """The file or preset, and the words behind its colon."""
    path, colon, arg = config.rpartition(".py:")
    if colon:
        return f"{path}.py", arg
    if config.endswith(".py"):
        return config, ""
    name, _, arg = config.partition(":")
    return name, arg


def _names() -> list[str]:
    return sorted(path.stem for path in preset_folder().glob("*.py"))


def _presets() -> Iterator[tuple[str, str, list[str]]]:
    """(name, what it is, words that it knows) of every preset, as its header says."""
    for name in _names():
        text = (preset_folder() / f"{name}.py").read_text(encoding="utf-8")
        header = ast.get_docstring(ast.parse(text)) or ""
        words = re.findall(r"^    (\w+(?:=\w+)?) {2}", header, re.MULTILINE)
        yield name, header.partition("\n")[0], words


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path.absolute()
    near = _renamed(path.stem) or did_you_mean(path.stem, _names())
    raise InputError(f"no config file {name}{near and f'; for a bundled preset, {near}'}")


def _preset(name: str) -> Path:
    if name in _names():
        return preset_folder() / f"{name}.py"
    near = _renamed(name) or did_you_mean(name, _names()) or f"there are {', '.join(_names())}"
    raise InputError(f"no preset {name}; {near} (your own needs its path, ending in .py)")


def _renamed(name: str) -> str:
    """How a preset of version 0.1, where each combination had a file, is written now."""
    found = re.fullmatch(
        "(market1501|msmt17|dukemtmc_reid|synthetic)(_triplet)?(?:_goat_(sma|fna|fast))?"
        "(_bank)?(_bfloat16)?(_reference)?",
        "synthetic" if name == "default" else name,
    )
    if found is None:
        return ""
    dataset, triplet, goat, bank, bfloat16, reference = found.groups()
    # Those files had bfloat16 without saying so in their names.
    half = bfloat16 or (dataset != "synthetic" and (bank or goat == "fast"))
    words = [
        *(["head=triplet"] if triplet else []),
        *([f"goat={goat}"] if goat else []),
        *(["bank"] if bank else []),
        *(["dtype=bfloat16"] if half else []),
        *(["reference"] if reference else []),
    ]
    return f"write {dataset}{':' if words else ''}{','.join(words)}"


def _run(path: Path, arg: str, *, bundled: bool = False) -> TrainConfig:
    """Runs a configuration file: its `get_config()`, with the words behind the colon if any."""
    module = types.ModuleType("jaxreid_config")
    module.__file__ = str(path)
    try:
        # Not imported: that would write bytecode beside it, and keep the module for the next file.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
        get_config = getattr(module, "get_config", None)
        if not callable(get_config):
            raise InputError("expected get_config(), which returns a TrainConfig")
        made = get_config(arg) if arg else get_config()
    except (Exception, SystemExit) as error:
        if bundled and isinstance(error, InputError):
            raise
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{_where(error, path)}: {kind}{text}") from error
    if not isinstance(made, TrainConfig):
        raise InputError(
            f"get_config() of {path} must return a jaxreid.training.config.TrainConfig; got "
            f"{type(made).__name__}"
        )
    return made


def _where(error: BaseException, path: Path) -> str:
    """The deepest line of the file itself that an error came through."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return str(path) if line is None else f"{path}, line {line}"


def _pairs(words: Sequence[str]) -> Iterator[tuple[Field, str]]:
    """(field, text) of every override."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith(_PREFIX):
            raise InputError(f"unexpected {word!r}; overrides look like --config.epochs=20")
        name, equals, text = word.removeprefix(_PREFIX).partition("=")
        field = find_field(TrainConfig, name)
        if not equals and rest and not rest[0].startswith("--"):
            text = rest.pop(0)
        elif not equals:
            if field.kind is not bool:
                raise InputError(f"{_PREFIX}{name} needs a value: {_PREFIX}{name}=VALUE")
            text = "true"
        yield field, text


def describe_fields() -> str:
    """Presets and fields for a terminal of 80 columns."""
    lines = ["--config NAME:WORD,... takes a preset and words that it knows:", ""]
    for name, title, words in _presets():
        lines += [f"  {name}: {title.partition(': ')[2]}", *_wrapped(" ".join(words), 6)]
    lines += ["", f"What the words do: {preset_folder()}/NAME.py", ""]
    lines += ["Any field can be set behind that; these are the defaults of all."]
    for title, meaning, fields in _groups():
        lines += ["", *textwrap.wrap(f"{title}: {meaning}" if title else meaning, 79), ""]
        for field in fields:
            lines.append(f"  --config.{field.name}={_plain(field.default)}")
            facts = ", ".join(filter(None, [field.unit, field.allowed]))
            for text in (facts, field.meaning.replace("`", "")):
                lines += _wrapped(text, 6)
    return "\n".join(lines)


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, 79, initial_indent=indent * " ", subsequent_indent=indent * " ")


def describe_fields_as_markdown() -> str:
    """docs/configuration.md: presets, and tables of all fields."""
    rows = [
        f"| `{name}` | {title} | {' '.join(f'`{word}`' for word in words)} |"
        for name, title, words in _presets()
    ]
    presets = "\n".join(["| preset | | words |", "| --- | --- | --- |", *rows])
    lines = [_INTRODUCTION.format(presets=presets)]
    for title, meaning, fields in _groups():
        lines += ["", f"## {title or 'run'}", "", meaning, ""]
        lines += [
            "| field | default | unit | allowed | meaning |",
            "| --- | --- | --- | --- | --- |",
        ]
        for field in fields:
            name = f"`{field.name}`{'*' if field.free else ''}"
            default = f"`{_plain(field.default)}`" if field.default != "" else ""
            kind = field.allowed or field.kind.__name__
            lines.append(f"| {name} | {default} | {field.unit} | {kind} | {field.meaning} |")
    return "\n".join([*lines, ""])


def _groups() -> Iterator[tuple[str, str, list[Field]]]:
    """(name, meaning, fields) of every group; those of a run as a whole come first."""
    known = fields_of(TrainConfig)
    documents = {"": TrainConfig.__doc__}
    documents |= {
        group.name: group.default_factory.__doc__
        for group in dataclasses.fields(TrainConfig)
        if isinstance(group.default_factory, type)
    }
    for title, meaning in documents.items():
        fields = [field for name, field in known.items() if name.rpartition(".")[0] == title]
        yield title, meaning or "", fields


def _plain(value: Value) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
