"""What a compiled program reads and writes, counted from its text.

XLA's own count of bytes holds all memories of a chip together. Beside each array the text of a
scheduled program says which memory it is in: S(1) is the one on the chip, nothing the large one.
"""

from collections.abc import Iterable

from jaxreid.benchmark.targets.collectives import COLLECTIVE_KINDS, handed_on, received
from jaxreid.benchmark.targets.program_text import (
    CALLS,
    Computations,
    Instruction,
    Run,
    array_sizes,
    called_by,
    place_of,
)

__all__ = ["moved_by_run", "traffic"]

# These name what is there already.
_NOTHING = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant")
_PARTS = ("slice", "dynamic-slice", "gather")


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
    return sum(run.times * moved_by_run(run, everywhere=everywhere) for run in found)


def moved_by_run(run: Run, *, everywhere: bool) -> int:
    """Bytes of one time that a computation runs, by the rule of `traffic`."""
    results = {one.name: one.result for one in run.instructions}
    return sum(_moved(one, results, run.others, everywhere) for one in run.instructions)


def _bytes(shapes: str, everywhere: bool) -> int:
    """Bytes of the arrays that a text names, of those on the chip only if they count too."""
    return sum(size for size, large in array_sizes(shapes) if large or everywhere)


def _moved(
    one: Instruction, results: dict[str, str], others: Computations, everywhere: bool
) -> int:
    if one.kind in (*_NOTHING, *CALLS) or one.kind.endswith("-done"):
        return 0
    if one.kind in ("copy-start", "slice-start"):
        (whole, from_large), (part, to_large), *_ = array_sizes(one.result)
        return min(whole, part) * ((from_large or everywhere) + (to_large or everywhere))
    read = [_bytes(results.get(name, ""), everywhere) for name in one.operands]
    if one.kind.removesuffix("-start") in COLLECTIVE_KINDS:
        return sum(read) + sum(size for size, large in received(one) if large or everywhere)
    inside = called_by(one, others)
    if inside is not None:
        moved = _moved_by_fusion(inside, read, one.result, others, everywhere)
        return moved - handed_on(one, inside, read, everywhere=everywhere)
    if one.kind in _PARTS:
        return 2 * _bytes(one.result, everywhere)
    if one.kind == "dynamic-update-slice":
        return 2 * read[1]
    return sum(read) + _bytes(one.result, everywhere)


def _moved_by_fusion(
    inside: list[Instruction],
    read: list[int],
    result: str,
    others: Computations,
    everywhere: bool,
) -> int:
    """Of an operand only those parts count that it is asked for, and of a result what changes."""
    written = _bytes(result, everywhere)
    named = {one.name: one for one in inside}
    total = 0
    for one in inside:
        if one.kind != "parameter":
            continue
        place = place_of(one)
        users = _users(one.name, inside)
        if users and all(_changes(user, one.name) for user in users):
            # In its place: only the update is written.
            updates = sum(_bytes(named[user.operands[1]].result, everywhere) for user in users)
            written -= max(0, read[place] - updates)
            continue
        part = _part(one.name, inside, others, everywhere)
        total += read[place] if part is None else min(read[place], part)
    return total + max(written, 0)


def _users(name: str, inside: list[Instruction]) -> list[Instruction]:
    return [one for one in inside if name in one.operands]


def _part(
    name: str, inside: list[Instruction], others: Computations, everywhere: bool
) -> int | None:
    """Bytes of an array that a fusion, and those in it, ask for; None for the whole array."""
    total, users = 0, _users(name, inside)
    for user in users:
        part: int | None = None
        if user.kind in _PARTS and user.operands[0] == name:
            part = _bytes(user.result, everywhere)
        elif user.kind == "bitcast":
            part = _part(user.name, inside, others, everywhere)
        elif nested := called_by(user, others):
            places = [place for place, operand in enumerate(user.operands) if operand == name]
            named = [one for one in nested if one.kind == "parameter" and place_of(one) in places]
            parts = [_part(one.name, nested, others, everywhere) for one in named]
            part = None if None in parts else sum(filter(None, parts))
        if part is None:
            return None
        total += part
    return total if users else None


def _changes(user: Instruction, name: str) -> bool:
    return user.kind == "dynamic-update-slice" and user.operands[0] == name
