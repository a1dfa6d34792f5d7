"""JSON from anyone, read as the annotations of a dataclass say, or refused by name."""

import dataclasses
import functools
import math
import types
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

__all__ = ["Within", "typed"]

_LARGEST = 1 << 63
_UNIONS = (Union, types.UnionType)
_Kind = TypeVar("_Kind")


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
    """Reads a value that came from JSON as a type says.

    Args:
        kind: a dataclass, str, int, float, bool, None, Any, a Literal, a union, Annotated with
            `Within`, or a dict, list or tuple of these.
        value: of `json.loads`.
        name: of the value, for messages.

    Returns:
        The value; dataclasses are built, whole numbers become floats where floats are wanted.

    Raises:
        InputError: the value is something else; the message names the field.
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
        # Means of floats may exceed what each of them keeps by their rounding.
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
