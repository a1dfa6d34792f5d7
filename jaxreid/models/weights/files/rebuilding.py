"""What a pickle of tensors may build: a table from names to functions here, and nothing else.

The names are those of torch._utils, of NumPy's scalars and of the containers around them, as
PyTorch writes them: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "ForbiddenError",
    "Inert",
    "NumpyType",
    "Storage",
    "View",
    "call",
    "named",
    "new",
    "put",
    "storage_of",
]


class ForbiddenError(Exception):
    """The stream asks for more than tensors."""


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file.

    Attributes:
        dtype: name of the type of its numbers, as torch says it: "float32"; "uint8" of an untyped.
        key: of the file's table of storages.
        count: of its numbers, as the stream claims.
        start: of the first of them among the numbers stored under the key.
    """

    dtype: str
    key: str
    count: int
    start: int = 0


@dataclass(frozen=True)
class View:
    """A tensor: a strided window on a storage; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class _Name:
    """The name of a class or function in the stream."""

    full: str


@dataclass
class NumpyType:
    """A NumPy type, whose byte order comes after it.

    Attributes:
        code: such as "f8".
        order: "<" or ">".
    """

    code: str
    order: str = "<"


class Inert:
    """An object of settings: what it holds is dropped."""


_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
_STORAGE = re.compile(rf"torch\.(?:cuda\.)?({'|'.join(_STORAGES)})Storage")
_UNTYPED = ("torch.storage.UntypedStorage", "torch.UntypedStorage")
_DTYPE = re.compile(r"torch\.(bool|u?int(?:8|16|32|64)|b?float\w+|complex\w+)")
_NUMBERS = re.compile(r"[fiu][1248]|b1")
_TENSOR_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_SETTINGS = "argparse.Namespace"


def _shape(numbers: Any) -> tuple[int, ...]:
    if type(numbers) is not tuple or not all(type(n) is int and n >= 0 for n in numbers):
        raise ForbiddenError("a tensor whose shape or strides are no sizes")
    return numbers


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> View:
    return _typed(storage, offset, shape, strides, None, ())


def _tensor_v2(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> View:
    """Behind the strides: whether it has a gradient, hooks, and what else there is to do."""
    return _typed(storage, offset, shape, strides, None, rest[2:])


def _tensor_v3(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> View:
    """Of types without a storage of their own: the type stands behind the hooks."""
    dtype = rest[2].full.removeprefix("torch.")
    return _typed(storage, offset, shape, strides, dtype, rest[3:])


def _typed(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    dtype: str | None,
    metadata: tuple[Any, ...],
) -> View:
    if type(storage) is not Storage or type(offset) is not int or offset < 0:
        raise ForbiddenError("a tensor that has no storage")
    if any(flag for flags in metadata if flags for flag in flags.values()):
        raise ForbiddenError("a tensor that is conjugated or negated when it is read")
    if len(_shape(shape)) != len(_shape(strides)) or len(shape) > 64:
        raise ForbiddenError(f"a tensor of {len(shape)} sides and {len(strides)} strides")
    return View(storage, offset, shape, strides, dtype or storage.dtype)


def _parameter(view: Any, *_: Any) -> View:
    if type(view) is not View:
        raise ForbiddenError("a parameter that is no tensor")
    return view


def _subclass(rebuild: Any, kind: Any, arguments: Any, _: Any) -> Any:
    """A tensor with attributes of its own, which are dropped."""
    if getattr(kind, "full", None) not in _TENSOR_TYPES:
        raise ForbiddenError("a tensor of a class that is not PyTorch's")
    return call(rebuild, arguments)


def _mapping(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs.items() if type(pairs) is dict else pairs:
        put(made, key, value)
    return made


def _bytes(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ForbiddenError("bytes in an unknown encoding")
    return text.encode("latin-1")


def _numpy_type(code: Any, *_: Any) -> NumpyType:
    if type(code) is not str or not _NUMBERS.fullmatch(code):
        raise ForbiddenError("a NumPy type that is none of numbers")
    return NumpyType(code)


def _numpy_number(dtype: Any, content: Any) -> Any:
    if type(dtype) is not NumpyType or type(content) is not bytes:
        raise ForbiddenError("a NumPy scalar of unknown type")
    (number,) = np.frombuffer(content, dtype.order + dtype.code)
    return number.item()


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.Size": lambda sides: _shape(tuple(sides)),
    "torch.device": lambda *parts: "device",
    "_codecs.encode": _bytes,
    "builtins.bytearray": lambda *arguments: b"",
    "builtins.set": lambda items=(): tuple(items),
    "builtins.complex": lambda *parts: complex(*(float(part) for part in parts)),
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray.scalar": _numpy_number,
    "numpy._core.multiarray.scalar": _numpy_number,
}


def named(module: str, name: str) -> _Name:
    """A name of the stream, if it is one of those that are known."""
    full = f"{'builtins' if module == '__builtin__' else module}.{name}"
    known = full in _CALLS or full in (*_TENSOR_TYPES, *_UNTYPED, _SETTINGS)
    if not (known or _STORAGE.fullmatch(full) or _DTYPE.fullmatch(full)):
        raise ForbiddenError(f"GLOBAL {full.removeprefix('builtins.')}")
    return _Name(full)


def call(function: Any, arguments: Any) -> Any:
    """What the function of the table gives."""
    if type(function) is not _Name or function.full not in _CALLS or type(arguments) is not tuple:
        raise ForbiddenError(f"a call of {getattr(function, 'full', type(function).__name__)}")
    return _CALLS[function.full](*arguments)


def new(kind: Any, arguments: Any) -> Any:
    """An object made without a function: settings, of which nothing is kept."""
    if getattr(kind, "full", None) != _SETTINGS or arguments != ():
        raise ForbiddenError(f"an object of {getattr(kind, 'full', type(kind).__name__)}")
    return Inert()


def storage_of(identity: Any) -> Storage:
    """The storage that the stream refers to: ("storage", type, key, place, count, part)."""
    if type(identity) is not tuple or len(identity) < 5 or identity[0] != "storage":
        raise ForbiddenError("a reference to something else than a storage")
    _, kind, key, _, count, *rest = identity
    name = getattr(kind, "full", "")
    match = _STORAGE.fullmatch(name)
    if match is None and name not in _UNTYPED:
        raise ForbiddenError(f"a storage of {name or type(kind).__name__}")
    if type(key) is not str or type(count) is not int or count < 0:
        raise ForbiddenError("a storage without key or size")
    dtype = _STORAGES[match[1]] if match else "uint8"
    if rest and rest[0] is not None:
        _, start, count = _part(rest[0])
        return Storage(dtype, key, count, start)
    return Storage(dtype, key, count)


def _part(part: Any) -> tuple[str, int, int]:
    key, start, count = part
    _shape((start, count))
    return key, start, count


def put(mapping: Any, key: Any, value: Any) -> None:
    """Sets an entry of a dict."""
    parts = key if type(key) is tuple else (key,)
    if type(mapping) is not dict:
        raise ForbiddenError(f"an entry in a {type(mapping).__name__}")
    # Hashing what is nested without end would exhaust the machine's stack.
    if not all(isinstance(part, str | int | float | bytes | None) for part in parts):
        raise ForbiddenError(f"a key that is a {type(key).__name__}")
    mapping[key] = value
