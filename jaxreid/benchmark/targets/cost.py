"""What a compiled program does with memory and with other devices, read from its text.

XLA's own count of bytes holds all memories of a chip together. Beside each array the text of a
scheduled program says which memory it is in: S(1) is the one on the chip, nothing the large one.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import jax

__all__ = ["Cost", "collectives", "cost_of", "traffic"]

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\](\{{[^}}]*\}})?")
_COMPUTATION = re.compile(
    r"^(?:ENTRY )?(%?[\w.\-]+) \([^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_INSTRUCTION = re.compile(r"^ +(?:ROOT )?(%?[\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$", re.MULTILINE)
_CALLED = re.compile(r"(?:body|to_apply|true_computation|false_computation)=(%?[\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# These name what is there already.
_NOTHING = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant", "while", "call")
_PARTS = ("slice", "dynamic-slice", "gather")


class Cost(NamedTuple):
    """What a program asks of one chip; a loop's steps are counted once.

    Attributes:
        flops: floating-point operations, as XLA counts them.
        bytes: read and written, as XLA counts them, in all memories of the chip.
        memory_bytes: read from and written to the chip's large memory.
        temporaries: bytes of memory beside arguments and results.
        arguments: bytes of what is handed to the program.
        collectives: kind -> (how many, bytes of their results).
    """

    flops: float
    bytes: float
    memory_bytes: int
    temporaries: int
    arguments: int
    collectives: dict[str, tuple[int, int]]


def cost_of(program: jax.stages.Compiled) -> Cost:
    """Reads what a program costs that was compiled for a TPU.

    Args:
        program: of all chips.

    Returns:
        The Cost for one of them.
    """
    said, memory, text = program.cost_analysis() or {}, program.memory_analysis(), program.as_text()
    assert memory is not None  # a TPU's programs have both
    assert text is not None
    return Cost(
        flops=said.get("flops", 0.0),
        bytes=said.get("bytes accessed", 0.0),
        memory_bytes=traffic(text),
        temporaries=memory.temp_size_in_bytes,
        arguments=memory.argument_size_in_bytes,
        collectives=collectives(text),
    )


class _Instruction(NamedTuple):
    name: str
    result: str
    kind: str
    operands: tuple[str, ...]
    rest: str


def _instructions(body: str) -> list[_Instruction]:
    return [
        _Instruction(name, result, kind, _operands(rest), rest)
        for name, result, kind, rest in _INSTRUCTION.findall(body)
    ]


def _operands(rest: str) -> tuple[str, ...]:
    # Their shapes may stand before the names; attributes follow the closing bracket.
    return tuple(re.findall(r"%?[\w.\-]+", _ARRAY.sub("", rest).split(")")[0]))


def _computations(text: str) -> tuple[str, dict[str, list[_Instruction]]]:
    """The name of the one that is run, and all."""
    entry = re.search(r"^ENTRY (%?[\w.\-]+)", text, re.MULTILINE)
    if entry is None:
        raise ValueError("the text of a compiled program has an ENTRY")
    found = {name: _instructions(body) for name, body in _COMPUTATION.findall(text)}
    return entry[1], found


def _run(text: str) -> Iterator[tuple[list[_Instruction], dict[str, list[_Instruction]]]]:
    """Computations that are run for themselves, loops and branches among them, each once."""
    entry, found = _computations(text)
    waiting, seen = [entry], {entry}
    while waiting:
        here = found[waiting.pop()]
        yield here, found
        for one in here:
            if one.kind not in ("while", "conditional", "call"):
                continue
            called = _CALLED.findall(one.rest)
            for branches in _BRANCHES.findall(one.rest):
                called += [name.strip() for name in branches.split(",")]
            waiting += [name for name in called if name in found and name not in seen]
            seen.update(called)


def _sizes(shapes: str) -> Iterator[tuple[int, bool]]:
    """Bytes of each array, and whether the large memory holds it."""
    for dtype, dimensions, layout in _ARRAY.findall(shapes):
        count = math.prod(int(size) for size in dimensions.split(",") if size)
        yield count * _BYTES[dtype], "S(" not in layout


def _in_memory(shapes: str) -> int:
    return sum(size for size, large in _sizes(shapes) if large)


def traffic(text: str) -> int:
    """Bytes that a scheduled program reads from and writes to the large memory, loops once.

    Every instruction reads its operands and writes its result once, but for those that take a part
    of an operand, or change a part of it in its place. Copies that run beside the arithmetic are
    counted where they begin.

    Args:
        text: of `jax.stages.Compiled.as_text`, for one chip.

    Returns:
        The bytes.
    """
    total = 0
    for here, computations in _run(text):
        results = {one.name: one.result for one in here}
        total += sum(_moved(one, results, computations) for one in here)
    return total


def _moved(
    one: _Instruction, results: dict[str, str], computations: dict[str, list[_Instruction]]
) -> int:
    if one.kind in (*_NOTHING, "conditional") or one.kind.endswith("-done"):
        return 0
    if one.kind in ("copy-start", "slice-start"):
        (whole, from_large), (part, to_large), *_ = _sizes(one.result)
        moved = min(whole, part)
        return moved * (from_large + to_large)
    read = [_in_memory(results.get(name, "")) for name in one.operands]
    called = re.search(r"calls=(%?[\w.\-]+)", one.rest)
    if one.kind == "fusion" and called and called[1] in computations:
        return _moved_by_fusion(computations[called[1]], read, one.result)
    if one.kind in _PARTS:
        return 2 * _in_memory(one.result)
    if one.kind == "dynamic-update-slice":
        return 2 * read[1]
    return sum(read) + _in_memory(one.result)


def _moved_by_fusion(inside: list[_Instruction], read: list[int], result: str) -> int:
    """Of an operand only those parts count that it is asked for, and of a result what changes."""
    written = _in_memory(result)
    named = {one.name: one for one in inside}
    used: dict[str, list[_Instruction]] = {}
    for one in inside:
        for name in one.operands:
            used.setdefault(name, []).append(one)
    total = 0
    for one in inside:
        if one.kind != "parameter":
            continue
        place = int(one.rest.split(")")[0])
        users = used.get(one.name, [])
        if users and all(user.kind in _PARTS and user.operands[0] == one.name for user in users):
            total += min(read[place], sum(_in_memory(user.result) for user in users))
        elif users and all(_changes(user, one.name) for user in users):
            # In its place: only the update is written.
            updates = sum(_in_memory(named[user.operands[1]].result) for user in users)
            written -= max(0, read[place] - updates)
        else:
            total += read[place]
    return total + max(written, 0)


def _changes(user: _Instruction, name: str) -> bool:
    return user.kind == "dynamic-update-slice" and user.operands[0] == name


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """Collectives of a program, loops once: kind -> (how many, bytes of their results).

    Args:
        text: of `jax.stages.Compiled.as_text`, for one chip.

    Returns:
        Only kinds that are there.
    """
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for here, _ in _run(text):
        for one in here:
            kind = one.kind.removesuffix("-start")
            if kind in _COLLECTIVES:
                counts[kind] += 1
                sizes[kind] += sum(_received(one))
    return {kind: (counts[kind], sizes[kind]) for kind in counts}


def _received(one: _Instruction) -> list[int]:
    """Bytes of what a collective gives. What begins one, but a sum, names its operands before."""
    arrays = [size for size, _ in _sizes(re.sub(r"\bu32\[\]", "", one.result))]
    begins = one.kind.endswith("-start") and not one.kind.startswith("all-reduce")
    return arrays[len(arrays) // 2 :] if begins else arrays
