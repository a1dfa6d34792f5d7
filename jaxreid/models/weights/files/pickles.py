"""Pickles of tensors, read by a machine that knows nothing but containers, numbers and tensors.

No name in the stream is imported and nothing is called but the functions of `rebuilding`, so that
a stream can build dicts, lists, numbers and views into storages, and nothing else. It knows the
instructions that PyTorch's `weights_only=True` knows, and refuses the others:
https://docs.pytorch.org/docs/stable/generated/torch.load.html
"""

import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import IO, Any

from jaxreid.models.weights.files.rebuilding import (
    ForbiddenError,
    Inert,
    NumpyType,
    Storage,
    call,
    named,
    new,
    put,
    storage_of,
)

__all__ = ["LONGEST", "load_pickle", "names_in"]

# A checkpoint has thousands of instructions, one with its optimiser a hundred thousand.
_MOST_INSTRUCTIONS = 1 << 22
_LONGEST_NAME = 1 << 10
LONGEST = 1 << 26
"""Bytes of a pickle: names of tensors and numbers about them, also those of an optimiser."""


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, stream: IO[bytes], storages: dict[str, Storage] | None) -> None:
        self.stream = stream
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages = {} if storages is None else storages
        self.left = LONGEST

    def take(self, count: int) -> bytes:
        self.left -= count
        if self.left < 0:
            raise ForbiddenError(f"a pickle of more than {LONGEST} bytes")
        content = self.stream.read(count)
        if len(content) != count:
            raise EOFError("the stream ends early")
        return content

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def word(self) -> str:
        line = self.stream.readline(_LONGEST_NAME)
        if not line.endswith(b"\n"):
            raise EOFError("a name that does not end")
        return line[:-1].decode()

    def pop(self) -> Any:
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def gather(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("too little on the stack")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def recall(self, index: int) -> None:
        self.push(self.memo[index])

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def text(self) -> None:
        self.push(self.take(self.number("<I")).decode("utf-8", "surrogatepass"))

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ForbiddenError(f"items of a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            put(self.stack[-1], key, value)

    def reduce(self) -> None:
        arguments = self.pop()
        self.push(call(self.pop(), arguments))

    def make(self) -> None:
        arguments = self.pop()
        self.push(new(self.pop(), arguments))

    def refer(self) -> None:
        storage = storage_of(self.pop())
        self.storages[storage.key] = storage
        self.push(storage)

    def build(self) -> None:
        """State of an object: only a NumPy type has any that counts, its byte order."""
        state = self.pop()
        made = self.stack[-1]
        if type(made) is NumpyType and type(state) is tuple and state[1] in ("<", ">", "|"):
            made.order = state[1]
        elif type(made) not in (dict, Inert):
            raise ForbiddenError(f"state of a {type(made).__name__}")


_Step = Callable[[_Machine], None]


def _constant(value: Any) -> _Step:
    return lambda machine: machine.push(value)


def _fixed(form: str) -> _Step:
    return lambda machine: machine.push(machine.number(form))


_STEPS: dict[bytes, _Step] = {
    pickle.PROTO: lambda m: m.number("B"),
    pickle.GLOBAL: lambda m: m.push(named(m.word(), m.word())),
    pickle.REDUCE: _Machine.reduce,
    pickle.NEWOBJ: _Machine.make,
    pickle.BUILD: _Machine.build,
    pickle.BINPERSID: _Machine.refer,
    pickle.APPEND: lambda m: m.extend([m.pop()]),
    pickle.APPENDS: lambda m: m.extend(m.since_mark()),
    pickle.SETITEM: lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    pickle.SETITEMS: lambda m: m.set_items(m.since_mark()),
    pickle.MARK: _Machine.mark,
    pickle.TUPLE: lambda m: m.push(tuple(m.since_mark())),
    pickle.TUPLE1: lambda m: m.gather(1),
    pickle.TUPLE2: lambda m: m.gather(2),
    pickle.TUPLE3: lambda m: m.gather(3),
    pickle.NONE: _constant(None),
    pickle.NEWFALSE: _constant(False),
    pickle.NEWTRUE: _constant(True),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.EMPTY_SET: _constant(()),
    pickle.BININT: _fixed("<i"),
    pickle.BININT1: _fixed("B"),
    pickle.BININT2: _fixed("<H"),
    pickle.BINFLOAT: _fixed(">d"),
    pickle.BINUNICODE: _Machine.text,
    pickle.SHORT_BINSTRING: lambda m: m.push(m.take(m.number("B")).decode()),
    pickle.LONG1: lambda m: m.push(pickle.decode_long(m.take(m.number("B")))),
    pickle.BINGET: lambda m: m.recall(m.number("B")),
    pickle.LONG_BINGET: lambda m: m.recall(m.number("<I")),
    pickle.BINPUT: lambda m: m.remember(m.number("B")),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number("<I")),
}


def load_pickle(stream: IO[bytes], storages: dict[str, Storage] | None = None) -> Any:
    """Reads one pickle from a stream and stands behind it.

    Tensors are `View`s, and the storages below them go into `storages`, by key. A ForbiddenError
    says what more than tensors it asks for; whatever else is raised means that it is broken.
    """
    machine = _Machine(stream, storages)
    for _ in range(_MOST_INSTRUCTIONS):
        instruction = machine.take(1)
        if instruction == pickle.STOP:
            return machine.pop()
        step = _STEPS.get(instruction)
        if step is None:
            raise ForbiddenError(f"unsupported instruction {instruction!r} of the pickle")
        step(machine)
    raise ForbiddenError(f"more than {_MOST_INSTRUCTIONS} instructions")


def names_in(stream: IO[bytes]) -> list[str]:
    """The names of classes and functions that pickles ask for, in order, without reading them."""
    names: list[str] = []
    texts: list[str] = []
    seen = 0
    try:
        while True:
            for operation, argument, _ in pickletools.genops(stream):
                seen += 1
                if operation.name == "GLOBAL" and isinstance(argument, str):
                    names.append(argument.replace(" ", "."))
                elif operation.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts = [*texts[-1:], argument]
                if seen > _MOST_INSTRUCTIONS:
                    return names
    # It ends, or is broken, wherever the stream leads.
    except Exception:
        return names
