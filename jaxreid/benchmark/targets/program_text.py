"""The text of a program as XLA writes it: its computations, how often each runs, its arrays."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
    "CALLS",
    "Computations",
    "Instruction",
    "Run",
    "array_sizes",
    "called_by",
    "place_of",
    "runs",
    "shapes",
]

# What begins as a call runs beside what follows.
CALLS = ("while", "conditional", "call", "call-start")
"""Kinds of instructions that run other computations."""

_ARRAY = re.compile(r"\b(pred|token|bf16|[sufc]\d+\w*)\[([\d,]*)\](\{[^}]*\})?")
_COMPUTATION = re.compile(
    r"^(?:ENTRY )?(%?[\w.\-]+) (?:\([^\n]*)?\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_INSTRUCTION = re.compile(r"^ +(ROOT )?(%?[\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$", re.MULTILINE)
# Where many stand beside each other, XLA numbers every fifth: /*index=5*/.
_COMMENT = re.compile(r"/\*.*?\*/")
_CALLED = re.compile(r"(?:body|to_apply|true_computation|false_computation)=(%?[\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
        name: of its result.
        result: the shapes of its result, with layouts.
        kind: such as "fusion".
        operands: names.
        rest: of the line, from the operands on.
        is_root: whether its result is the computation's.
    """

    name: str
    result: str
    kind: str
    operands: tuple[str, ...]
    rest: str
    is_root: bool


Computations = dict[str, list[Instruction]]
"""Name -> instructions, in their order."""


class Run(NamedTuple):
    """A computation that is run for itself: a program's own, a loop's step, a branch.

    Attributes:
        instructions: in their order.
        times: how often it runs.
        others: all computations of the program, among them those that fusions call.
    """

    instructions: list[Instruction]
    times: int
    others: Computations


def shapes(text: str) -> list[tuple[int, ...]]:
    """Sizes of the arrays that a text names, one after the other."""
    return [_dimensions(listed) for _, listed, _ in _ARRAY.findall(text)]


def _dimensions(listed: str) -> tuple[int, ...]:
    return tuple(int(size) for size in listed.split(",") if size)


def array_sizes(text: str) -> Iterator[tuple[int, bool]]:
    """Bytes of each array that a text names, and whether the large memory of a TPU holds it.

    S(1) in a layout is the memory on the chip, nothing the large one; other numbers are small ones
    beside them, which count as on the chip.
    """
    for dtype, dimensions, layout in _ARRAY.findall(text):
        bits = math.prod(_dimensions(dimensions)) * _bits(dtype)
        yield -(-bits // 8), "S(" not in layout


def _bits(dtype: str) -> int:
    """Of one number: 16 of bf16, 8 of f8e4m3fn; those of pred fill a byte each."""
    found = re.search(r"\d+", dtype)
    return int(found[0]) if found else {"pred": 8}.get(dtype, 0)


def called_by(fusion: Instruction, others: Computations) -> list[Instruction] | None:
    """What a fusion does, or None for another instruction."""
    found = re.search(r"calls=(%?[\w.\-]+)", fusion.rest)
    return others.get(found[1]) if fusion.kind == "fusion" and found else None


def place_of(parameter: Instruction) -> int:
    """Which operand of a fusion a parameter of what it does is."""
    return int(parameter.rest.split(")")[0])


def runs(text: str) -> Iterator[Run]:
    """The computations that a program runs, each once, with how often it does.

    Args:
        text: of `jax.stages.Compiled.as_text` or of `jax.stages.Lowered.as_text("hlo")`.

    Raises:
        ValueError: a text without an ENTRY.
    """
    text = _COMMENT.sub("", text)
    entry = re.search(r"^ENTRY (%?[\w.\-]+)", text, re.MULTILINE)
    if entry is None:
        raise ValueError("the text of a program has an ENTRY")
    found = {name: _instructions(body) for name, body in _COMPUTATION.findall(text)}
    times = Counter({entry[1]: 1})
    for name in _callers_first(entry[1], found):
        yield Run(found[name], times[name], found)
        for one in found[name]:
            trips = _trips(one, found[name], found) if one.kind == "while" else 1
            for other in _runs_of(one, found):
                times[other] += times[name] * trips


def _runs_of(one: Instruction, found: Computations) -> list[str]:
    """The computations that an instruction runs."""
    if one.kind not in CALLS:
        return []
    called = _CALLED.findall(one.rest)
    for branches in _BRANCHES.findall(one.rest):
        called += [branch.strip() for branch in branches.split(",")]
    return [name for name in called if name in found]


def _callers_first(entry: str, found: Computations) -> list[str]:
    """All computations that run, each after those that run it."""
    order: list[str] = []
    seen: set[str] = set()
    waiting = [(entry, False)]
    while waiting:
        name, done = waiting.pop()
        if done:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(other, False) for one in found[name] for other in _runs_of(one, found)]
    return order[::-1]


def _instructions(body: str) -> list[Instruction]:
    return [
        Instruction(name, result, kind, _operands(rest), rest, bool(root))
        for root, name, result, kind, rest in _INSTRUCTION.findall(body)
    ]


def _operands(rest: str) -> tuple[str, ...]:
    # Their shapes may stand before the names; attributes follow the closing bracket.
    return tuple(re.findall(r"%?[\w.\-]+", _ARRAY.sub("", rest).split(")")[0]))


def _trips(loop: Instruction, here: list[Instruction], others: Computations) -> int:
    """How often a loop runs that counts in ones up to a constant; 1 for any other."""
    condition = re.search(r"condition=(%?[\w.\-]+)", loop.rest)
    until = others.get(condition[1], []) if condition else []
    named = {one.name: one for one in until}
    root = next((one for one in until if one.is_root), None)
    if root is None or root.kind != "compare" or "direction=LT" not in root.rest:
        return 1
    counter, limit = (named.get(name) for name in root.operands[:2])
    end = _constant(limit)
    place = counter and re.search(r"index=(\d+)", counter.rest)
    outside = {one.name: one for one in here}
    start = outside.get(loop.operands[0])
    if end is None or not place or start is None or start.kind != "tuple":
        return 1
    first = outside.get(start.operands[int(place[1])])
    while first is not None and first.kind == "copy":
        first = outside.get(first.operands[0])
    begin = _constant(first)
    return 1 if begin is None else max(end - begin, 0)


def _constant(one: Instruction | None) -> int | None:
    if one is None or one.kind != "constant":
        return None
    value = one.rest.split(")")[0]
    return int(value) if re.fullmatch(r"-?\d+", value) else None
