"""What a compiled program asks of one chip: operations, bytes, memory, what crosses chips."""

from collections.abc import Iterable
from typing import NamedTuple

import jax

from jaxreid.benchmark.targets.collectives import collectives
from jaxreid.benchmark.targets.products import product_flops
from jaxreid.benchmark.targets.program_text import Run, runs
from jaxreid.benchmark.targets.traffic import moved_by_run, traffic

__all__ = ["Cost", "cost_of", "flops_of"]


class Cost(NamedTuple):
    """What a program asks of one chip.

    XLA counts a loop's steps once. All but the first are added to what it says: their convolutions
    and matrix products, and their reading and writing by the rule of `traffic`. A loop whose length
    the text does not say stays one step.

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


def cost_of(program: jax.stages.Compiled, *, steps: int = 1) -> Cost:
    """Reads what a program costs that was compiled for a TPU.

    Args:
        program: of all chips.
        steps: of which the costs of one are asked: operations and bytes are divided by it.

    Returns:
        The Cost for one of them.
    """
    said, memory, text = program.cost_analysis() or {}, program.memory_analysis(), program.as_text()
    assert memory is not None  # a TPU's programs have both
    assert text is not None
    found = list(runs(text))
    again = sum((run.times - 1) * moved_by_run(run, everywhere=True) for run in found)
    return Cost(
        flops=flops_of(said, found) / steps,
        bytes=(said.get("bytes accessed", 0.0) + again) / steps,
        memory_bytes=round(traffic(found) / steps),
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
