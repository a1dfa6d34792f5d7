"""What a compiled program does with memory and with other devices, read from its text.

XLA's own count of bytes holds all memories of a chip together. Beside each array the text of a
scheduled program says which memory it is in: S(1) is the one on the chip, nothing the large one.

A collective may run beside arithmetic: one fusion begins it, another ends it, and all between them
hand its arrays on ("async collective fusion"). Each of them names the collective, which is one.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import jax

from jaxreid.benchmark.targets.products import product_flops
from jaxreid.benchmark.targets.program_text import (
    CALLS,
    Instruction,
    Run,
    array_sizes,
    called_by,
    runs,
)

__all__ = ["Cost", "collectives", "cost_of", "flops_of", "traffic"]

_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# These name what is there already.
_NOTHING = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant")
_PARTS = ("slice", "dynamic-slice", "gather")
# What XLA calls in a fusion that begins a collective, and in one that ends it.
_BEGINS, _ENDS = '"AsyncCollectiveStart"', '"AsyncCollectiveDone"'


class Cost(NamedTuple):
    """What a program asks of one chip.

    XLA counts a loop's steps once. All but the first are added to what it says: their convolutions
    and matrix products, and their reading and writing by the rule of `traffic`. A loop whose length
    the text does not say stays one step. Taken off is what XLA counts of a collective's arrays
    wherever they are handed on.

    Attributes:
        flops: floating-point operations.
        bytes: read and written in all memories of the chip.
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


def cost_of(program: jax.stages.Compiled, *, per_step: bool = False) -> Cost:
    """Reads what a program costs that was compiled for a TPU.

    Args:
        program: of all chips.
        per_step: whether a loop counts as one of its steps.

    Returns:
        The Cost for one of them.
    """
    said, memory, text = program.cost_analysis() or {}, program.memory_analysis(), program.as_text()
    assert memory is not None  # a TPU's programs have both
    assert text is not None
    found = list(runs(text, per_step=per_step))
    again = sum((run.times - 1) * _moved_by_run(run, everywhere=True) for run in found)
    handed_on = sum(_handed_on_by_run(run) for run in found)
    return Cost(
        flops=flops_of(said, found),
        bytes=said.get("bytes accessed", 0.0) - handed_on + again,
        memory_bytes=traffic(found),
        temporaries=memory.temp_size_in_bytes,
        arguments=memory.argument_size_in_bytes,
        collectives=collectives(found),
    )


def flops_of(said: dict[str, float], found: Iterable[Run]) -> float:
    """Operations of a program: what XLA says, and loops' further steps.

    Args:
        said: its analysis of the cost.
        found: `runs` of the program's text.
    """
    again = sum((run.times - 1) * product_flops(run) for run in found)
    return said.get("flops", 0.0) + again


def _bytes(shapes: str, everywhere: bool) -> int:
    """Bytes of the arrays that a text names, of those on the chip only if they count too."""
    return sum(size for size, large in array_sizes(shapes) if large or everywhere)


def traffic(found: Iterable[Run], *, everywhere: bool = False) -> int:
    """Bytes that a scheduled program reads from and writes to the large memory.

    Every instruction reads its operands and writes its result once, but for those that take a part
    of an operand, or change a part of it in its place. Copies and collectives that run beside the
    arithmetic are counted where they begin.

    Args:
        found: `runs` of `jax.stages.Compiled.as_text`, for one chip.
        everywhere: whether the memory on the chip counts too.

    Returns:
        The bytes.
    """
    return sum(run.times * _moved_by_run(run, everywhere) for run in found)


def _moved_by_run(run: Run, everywhere: bool) -> int:
    """Bytes of one time that a computation runs."""
    results = {one.name: one.result for one in run.instructions}
    return sum(_moved(one, results, run, everywhere) for one in run.instructions)


def _moved(one: Instruction, results: dict[str, str], run: Run, everywhere: bool) -> int:
    if one.kind in (*_NOTHING, *CALLS) or one.kind.endswith("-done"):
        return 0
    if one.kind in ("copy-start", "slice-start"):
        (whole, from_large), (part, to_large), *_ = array_sizes(one.result)
        return min(whole, part) * ((from_large or everywhere) + (to_large or everywhere))
    read = [_bytes(results.get(name, ""), everywhere) for name in one.operands]
    inside = called_by(one, run.others)
    if inside is not None:
        handed_on = _handed_on(one, inside, read, everywhere)
        return _moved_by_fusion(inside, read, one.result, everywhere) - handed_on
    if one.kind in _PARTS:
        return 2 * _bytes(one.result, everywhere)
    if one.kind == "dynamic-update-slice":
        return 2 * read[1]
    return sum(read) + _bytes(one.result, everywhere)


def _moved_by_fusion(
    inside: list[Instruction], read: list[int], result: str, everywhere: bool
) -> int:
    """Of an operand only those parts count that it is asked for, and of a result what changes."""
    written = _bytes(result, everywhere)
    named = {one.name: one for one in inside}
    used: dict[str, list[Instruction]] = {}
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
            total += min(read[place], sum(_bytes(user.result, everywhere) for user in users))
        elif users and all(_changes(user, one.name) for user in users):
            # In its place: only the update is written.
            updates = sum(_bytes(named[user.operands[1]].result, everywhere) for user in users)
            written -= max(0, read[place] - updates)
        else:
            total += read[place]
    return total + max(written, 0)


def _handed_on_by_run(run: Run) -> int:
    """Bytes that one time of a computation does not move, though its fusions name them."""
    results = {one.name: one.result for one in run.instructions}
    total = 0
    for one in run.instructions:
        inside = called_by(one, run.others)
        if inside is not None:
            read = [_bytes(results.get(name, ""), True) for name in one.operands]
            total += _handed_on(one, inside, read, everywhere=True)
    return total


def _handed_on(
    one: Instruction, inside: list[Instruction], read: list[int], everywhere: bool
) -> int:
    """Bytes of the arrays of a collective that a fusion only takes along."""
    along = {other.name for other in inside if other.kind in _COLLECTIVES}
    if not along:
        return 0
    if any(_ENDS in other.rest for other in inside):
        return sum(read) + _bytes(one.result, everywhere)
    if any(_BEGINS in other.rest for other in inside):
        # The result begins with the operand itself.
        return sum(read)
    root = next(other for other in inside if other.is_root)
    used = {
        name for other in inside if other.name not in {*along, root.name} for name in other.operands
    }
    given = {
        other.name: int(other.rest.split(")")[0]) for other in inside if other.kind == "parameter"
    }
    taken = {name: place for name, place in given.items() if name not in used}
    results = zip(root.operands, array_sizes(one.result), strict=False)
    handed = (
        size
        for name, (size, large) in results
        if name in {*along, *taken} and (large or everywhere)
    )
    return sum(read[place] for place in taken.values()) + sum(handed)


def _changes(user: Instruction, name: str) -> bool:
    return user.kind == "dynamic-update-slice" and user.operands[0] == name


def collectives(found: Iterable[Run]) -> dict[str, tuple[int, int]]:
    """Collectives of a program: kind -> (how many, bytes of their results).

    Args:
        found: `runs` of `jax.stages.Compiled.as_text`, for one chip.

    Returns:
        Only kinds that are there.
    """
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for run in found:
        for one in filter(None, (_collective(one, run) for one in run.instructions)):
            kind = one.kind.removesuffix("-start")
            counts[kind] += run.times
            sizes[kind] += run.times * sum(_received(one))
    return {kind: (counts[kind], sizes[kind]) for kind in counts}


def _collective(one: Instruction, run: Run) -> Instruction | None:
    """The collective that an instruction is, or that a fusion begins."""
    if one.kind.removesuffix("-start") in _COLLECTIVES:
        return one
    inside = called_by(one, run.others) or []
    if not any(_BEGINS in other.rest for other in inside):
        return None
    return next((other for other in inside if other.kind in _COLLECTIVES), None)


def _received(one: Instruction) -> list[int]:
    """Bytes of what a collective gives. What begins one, but a sum, names its operands before."""
    arrays = [size for size, _ in array_sizes(re.sub(r"\bu32\[\]", "", one.result))]
    begins = one.kind.endswith("-start") and not one.kind.startswith("all-reduce")
    return arrays[len(arrays) // 2 :] if begins else arrays
