"""The configuration of a training run: a preset or a file, then the user's overrides."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from jaxreid.cli import presets
from jaxreid.cli.fields import check_fields, convert_value, parse_value
from jaxreid.errors import InputError

__all__ = ["load"]

_PREFIX = "--config."


def load(config: str, overrides: Sequence[str]) -> ConfigDict:
    """Loads a configuration, applies overrides and checks every field.

    Args:
        config: a path to a .py file that defines `get_config()`, or the name of a bundled preset.
        overrides: words `--config.optimizer.learning_rate=0.001`, or the same as two words; a bare
            `--config.goat.enabled` means true.

    Returns:
        All fields of configs/default.py, locked.

    Raises:
        InputError: the file is not found, does not run or makes something else; a field is unknown
            (the message names the nearest one), missing, of the wrong type or out of range.
    """
    path = presets.find(config)
    defaults = _flat(presets.run(presets.folder() / "default.py").to_dict())
    given = _flat(presets.run(path).to_dict())
    try:
        for field in given:
            _check_known(field, defaults)
        missing = [field for field in defaults if field not in given]
        if missing:
            raise InputError(f"no field {missing[0]}; start from get_config() of default.py")
        for field, default in defaults.items():
            given[field] = convert_value(field, default, given[field])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for field, text in _pairs(overrides, defaults):
        parsed = parse_value(field, defaults[field], text)
        given[field] = convert_value(field, defaults[field], parsed)
    check_fields(given)
    return _nested(given).lock()


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _nested(fields: Mapping[str, Any]) -> ConfigDict:
    config = ConfigDict()
    for field, value in fields.items():
        *groups, name = field.split(".")
        target = config
        for group in groups:
            if group not in target:
                target[group] = ConfigDict()
            target = target[group]
        target[name] = value
    return config


def _check_known(field: str, defaults: Mapping[str, Any]) -> None:
    if field in defaults:
        return
    group = [name for name in defaults if name.startswith(f"{field}.")]
    if group:
        raise InputError(f"{field} is a group of fields; name one of them, such as {group[0]}")
    # The right name in no group or the wrong one: learning_rate for optimizer.learning_rate.
    last = field.rpartition(".")[2]
    namesakes = [name for name in defaults if name.rpartition(".")[2] == last]
    near = difflib.get_close_matches(field, namesakes, n=1, cutoff=0)
    near = near or difflib.get_close_matches(field, defaults, n=1)
    hint = f"did you mean {near[0]}?" if near else "configs/default.py lists them all"
    raise InputError(f"no field {field}; {hint}")


def _pairs(words: Sequence[str], defaults: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, text) of every override."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith(_PREFIX):
            raise InputError(f"unexpected {word!r}; overrides look like --config.epochs=20")
        field, equals, text = word.removeprefix(_PREFIX).partition("=")
        _check_known(field, defaults)
        if not equals and rest and not rest[0].startswith("--"):
            text = rest.pop(0)
        elif not equals:
            if not isinstance(defaults[field], bool):
                raise InputError(f"{_PREFIX}{field} needs a value: {_PREFIX}{field}=VALUE")
            text = "true"
        yield field, text
