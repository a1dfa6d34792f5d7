"""What crosses chips, read from the text of a compiled program.

A collective is an instruction, a part of a fusion, or runs beside arithmetic: one fusion begins it,
another ends it, and those between hand its arrays on ("async collective fusion"). Each of these
names the collective, which is one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from jaxreid.benchmark.targets.program_text import (
    Instruction,
    Run,
    array_sizes,
    called_by,
    place_of,
)

__all__ = ["COLLECTIVE_KINDS", "collectives", "handed_on", "received"]

COLLECTIVE_KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
"""Kinds of collectives; what begins one has "-start" after it."""

# In the text of a fusion's part: of a collective that runs beside it, its beginning and its end.
_BESIDE = '"async_collective_fusion_config"'
_BEGINS, _ENDS = '"AsyncCollectiveStart"', '"AsyncCollectiveDone"'


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
        for one in run.instructions:
            for collective in _collectives_of(one, run):
                kind = collective.kind.removesuffix("-start")
                counts[kind] += run.times
                sizes[kind] += run.times * sum(size for size, _ in received(collective))
    return {kind: (counts[kind], sizes[kind]) for kind in COLLECTIVE_KINDS if counts[kind]}


def _collectives_of(one: Instruction, run: Run) -> Iterator[Instruction]:
    """The collective that an instruction is, or those that a fusion does or begins."""
    if one.kind.removesuffix("-start") in COLLECTIVE_KINDS:
        yield one
    inside = called_by(one, run.others) or []
    begins = any(_BEGINS in other.rest for other in inside)
    for other in inside:
        if other.kind in COLLECTIVE_KINDS and (begins or _BESIDE not in other.rest):
            yield other


def received(collective: Instruction) -> list[tuple[int, bool]]:
    """Of what a collective gives: bytes, and whether they are in the large memory.

    What begins one, but a sum, names its operands before.
    """
    arrays = list(array_sizes(re.sub(r"\bu32\[\]", "", collective.result)))
    begins = collective.kind.endswith("-start") and not collective.kind.startswith("all-reduce")
    return arrays[len(arrays) // 2 :] if begins else arrays


def handed_on(
    fusion: Instruction, inside: list[Instruction], read: list[int], *, everywhere: bool
) -> int:
    """Bytes of the arrays of a collective beside it that a fusion names, and does not move.

    The fusion that begins the collective reads them and writes them, for all.

    Args:
        fusion: the fusion.
        inside: what it does.
        read: bytes of each of its operands.
        everywhere: whether results on the chip count too.

    Returns:
        The bytes of such operands and results; 0 for any other fusion.

    Raises:
        ValueError: the fusion's result is not one array for each part of its tuple.
    """
    ends = {other.name for other in inside if _ENDS in other.rest}
    along = {
        other.name for other in inside if other.kind in COLLECTIVE_KINDS and _BESIDE in other.rest
    }
    if not along:
        return 0
    root = next(other for other in inside if other.is_root)
    # These name arrays, and read none.
    naming = {*along, *ends, *(other.name for other in inside if _BEGINS in other.rest)}
    if root.kind == "tuple":
        naming.add(root.name)
    used = {name for other in inside if other.name not in naming for name in other.operands}
    operands = {
        other.name: read[place_of(other)]
        for other in inside
        if other.kind == "parameter" and other.name not in used
    }
    passing = {*along, *ends, *operands}
    results = list(array_sizes(fusion.result))
    names = root.operands if root.kind == "tuple" else [root.name] * len(results)
    handed = [
        size
        for name, (size, large) in zip(names, results, strict=True)
        if name in passing and (large or everywhere)
    ]
    return sum(operands.values()) + sum(handed)
