"""Reads JSON files that anyone may have written: by type and schema, errors naming the field."""

import dataclasses
import functools
import json
import math
import types
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from jaxreid.errors import InputError

__all__ = [
    "Within",
    "is_cut_off",
    "read_object",
    "read_versioned",
    "refuse_special",
    "typed",
]

_LARGEST = 1 << 63
_UNIONS = (Union, types.UnionType)
_Kind = TypeVar("_Kind")

# Endings of which one completes a JSON text that was cut anywhere, but for brackets that are still
# open: where the cut is inside a string, and where it is outside of one.
_IN_TEXT = tuple(
    f'{pad}"{rest}' for pad in ("", "\\", "0", "00", "000", "0000") for rest in ("", ": 0")
)
_WORDS = ("true", "false", "null", "NaN", "Infinity")
_OUTSIDE = (
    *("", "0", ": 0", '"": 0'),
    *(word[at:] for word in _WORDS for at in range(1, len(word))),
)


class Within(NamedTuple):
    """In `Annotated[float, Within(0, 1)]`: what a number has to be, but for rounding.

    Attributes:
        low: smallest.
        high: largest.
    """

    low: float
    high: float


@overload
def typed(kind: type[_Kind], value: object, name: str = "") -> _Kind: ...
@overload
def typed(kind: object, value: object, name: str = "") -> Any: ...
def typed(kind: Any, value: object, name: str = "") -> Any:
    """Converts a value of `json.loads` to a type; dataclasses are built, ints become floats.

    The type is a dataclass, str, int, float, bool, None, Any, a Literal, a union, Annotated with
    `Within`, or a dict, list or tuple of these. InputError names the field that is something else.
    """
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, name)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _within(typed(arguments[0], value, name), arguments[1:], name)
    if origin in _UNIONS:
        return _one_of(arguments, value, name)
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in arguments):
            raise _wrong(name, value, f"one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (dict, list, tuple):
        return _container(origin, arguments, value, name)
    return _plain(kind, value, name)


def _wrong(name: str, value: object, expected: str) -> InputError:
    text = repr(value)
    short = text if len(text) <= 40 else f"{text[:37]}..."
    return InputError(f"{name or 'it'} is {short}, expected {expected}")


@functools.cache
def _annotations(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _object(kind: Any, value: object, name: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(name, value, f"an object with the fields of {kind.__name__}")
    prefix = f"{name}." if name else ""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    unknown = [key for key in value if key not in fields]
    if unknown:
        raise InputError(
            f"{prefix}{unknown[0][:40]} is no field that this version of jaxreid knows: damaged, "
            "or of a newer version"
        )
    needed = [
        key
        for key, field in fields.items()
        if field.default is field.default_factory is dataclasses.MISSING and key not in value
    ]
    if needed:
        raise InputError(f"{prefix}{needed[0]} is missing")
    hints = _annotations(kind)
    given = {key: typed(hints[key], one, f"{prefix}{key}") for key, one in value.items()}
    try:
        return kind(**given)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}: {error}" if name else str(error)) from None


def _within(value: float, bounds: tuple[object, ...], name: str) -> float:
    for bound in bounds:
        # Rounding may put a mean of floats just outside the bounds of the floats themselves.
        slack = 1e-6 if isinstance(value, float) else 0
        if isinstance(bound, Within) and not bound.low - slack <= value <= bound.high + slack:
            raise _wrong(name, value, f"a number from {bound.low:g} to {bound.high:g}")
    return value


def _one_of(kinds: tuple[object, ...], value: object, name: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return typed(others[0], value, name)
    # A whole number is an int before it is a float, whatever the order in the annotation.
    for kind in sorted(others, key=lambda kind: kind is float):
        try:
            return typed(kind, value, name)
        except InputError:
            continue
    raise _wrong(name, value, " or ".join(getattr(one, "__name__", str(one)) for one in kinds))


def _container(origin: type, arguments: tuple[Any, ...], value: object, name: str) -> Any:
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(name, value, "an object")
        inner = arguments[1] if arguments else Any
        return {key: typed(inner, one, f"{name}.{key[:40]}") for key, one in value.items()}
    if not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list")
    if origin is list or not arguments or arguments[-1] is Ellipsis:
        kinds = [arguments[0] if arguments else Any] * len(value)
    else:
        kinds = list(arguments)
    if len(kinds) != len(value):
        raise _wrong(name, value, f"a list of {len(kinds)}")
    return origin(
        typed(kind, one, f"{name}[{index}]")
        for index, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _plain(kind: object, value: Any, name: str) -> Any:
    if kind is Any:
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
    elif kind is int:
        if type(value) is not int or abs(value) >= _LARGEST:
            raise _wrong(name, value, "a whole number of at most 63 bits")
    elif kind is float:
        if type(value) not in (int, float):
            raise _wrong(name, value, "a number")
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise _wrong(name, value, "a finite number")
    elif kind is str:
        if not isinstance(value, str):
            raise _wrong(name, value, "a text")
    elif kind is None or kind is type(None):
        if value is not None:
            raise _wrong(name, value, "null")
    else:
        raise TypeError(f"{name}: no way to read {kind}")
    return value


def read_object(text: str) -> dict[str, Any]:
    """Parses the text of one JSON object; InputError where it is something else."""
    try:
        fields = json.loads(text)
    except RecursionError:
        raise InputError("it is not JSON that anyone wrote: its brackets nest too deeply") from None
    except ValueError as error:
        raise InputError(f"it is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InputError(f"it is a {type(fields).__name__}, expected an object {{...}}")
    return fields


def is_cut_off(text: str) -> bool:
    """Whether a text only lacks its end to be a JSON object, as an interrupted write leaves it."""
    if not text.startswith("{") or _is_object(text):
        return False
    closing: list[str] = []
    quoted = escaped = False
    for letter in text:
        if quoted:
            quoted, escaped = escaped or letter != '"', not escaped and letter == "\\"
        elif letter == '"':
            quoted = True
        elif letter in "{[":
            closing.append("}" if letter == "{" else "]")
        elif letter in "}]" and (not closing or closing.pop() != letter):
            return False
    end = "".join(reversed(closing))
    return any(_is_object(text + more + end) for more in (_IN_TEXT if quoted else _OUTSIDE))


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def refuse_special(path: Path) -> None:
    """Raises InputError for pipes and devices, reading which might never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path} cannot be read: it is no regular file")


def read_versioned(path: Path, schema: int, *, instead: str) -> dict[str, Any]:
    """Reads the fields of a JSON object whose field "schema" must be `schema`.

    InputError where it is something else, with `instead` as what to do about it; OSError where the
    file cannot be read, for the caller to say what was expected there.
    """
    refuse_special(path)
    try:
        fields = read_object(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}; {instead}") from None
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; {instead}") from None
    found = fields.get("schema")
    if type(found) is not int or found != schema:
        raise InputError(
            f"{path} has schema {found!r:.40}, and this version of jaxreid reads {schema}; "
            f"{instead}"
        )
    return fields
