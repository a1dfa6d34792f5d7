"""The text of a program as XLA writes it: its computations, how often each runs, its arrays."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["CALLS", "Instruction", "Run", "array_sizes", "called_by", "runs", "shapes"]

# What begins as a call runs beside what follows.
CALLS = ("while", "conditional", "call", "call-start")
"""Kinds of instructions that run other computations."""

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\](\{{[^}}]*\}})?")
_COMPUTATION = re.compile(
    r"^(?:ENTRY )?(%?[\w.\-]+) (?:\([^\n]*)?\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_INSTRUCTION = re.compile(r"^ +(ROOT )?(%?[\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$", re.MULTILINE)
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

    S(1) in a layout is the memory on the chip, nothing the large one.
    """
    for dtype, dimensions, layout in _ARRAY.findall(text):
        yield math.prod(_dimensions(dimensions)) * _BYTES[dtype], "S(" not in layout


def called_by(fusion: Instruction, others: Computations) -> list[Instruction] | None:
    """What a fusion does, or None for another instruction."""
    found = re.search(r"calls=(%?[\w.\-]+)", fusion.rest)
    return others.get(found[1]) if fusion.kind == "fusion" and found else None


def runs(text: str, *, per_step: bool = False) -> Iterator[Run]:
    """The computations that a program runs, each once, however often it does.

    Args:
        text: of `jax.stages.Compiled.as_text` or of `jax.stages.Lowered.as_text("hlo")`.
        per_step: whether a loop counts as one of its steps.

    Raises:
        ValueError: a text without an ENTRY.
    """
    entry = re.search(r"^ENTRY (%?[\w.\-]+)", text, re.MULTILINE)
    if entry is None:
        raise ValueError("the text of a program has an ENTRY")
    found = {name: _instructions(body) for name, body in _COMPUTATION.findall(text)}
    times = {entry[1]: 1}
    waiting = [entry[1]]
    while waiting:
        name = waiting.pop()
        yield Run(found[name], times[name], found)
        for one in found[name]:
            if one.kind not in CALLS:
                continue
            called = _CALLED.findall(one.rest)
            for branches in _BRANCHES.findall(one.rest):
                called += [branch.strip() for branch in branches.split(",")]
            repeats = one.kind == "while" and not per_step
            trips = _trips(one, found[name], found) if repeats else 1
            for other in called:
                if other in found and other not in times:
                    times[other] = times[name] * trips
                    waiting.append(other)


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
