"""Programs counted for a target, beside what its chips could do at best."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax

from jaxreid.benchmark.targets.chips import Chip, Slice, slice_of
from jaxreid.benchmark.targets.cost import Cost, cost_of, flops_of
from jaxreid.benchmark.targets.program_text import runs
from jaxreid.benchmark.targets.programs import PROGRAMS, Network, compiled_for, lowered_for
from jaxreid.errors import InputError

__all__ = ["Counted", "Floors", "count_for", "floors_of"]

_LOWERED = ("cuda", "rocm")


class Floors(NamedTuple):
    """Seconds below which a chip cannot be, if one thing were all that it does.

    Attributes:
        arithmetic: at its peak, which is that of bfloat16.
        memory: at the bandwidth of its large memory.
        between: at the bandwidth of all its links in one direction, in which it sends; what all
            chips sum up is sent twice.
    """

    arithmetic: float
    memory: float
    between: float


class Counted(NamedTuple):
    """A program on a target.

    Attributes:
        devices: that share the work.
        images: of one device; of a ranking, queries.
        flops: of one device.
        cost: of one device, or None where it was not compiled.
        floors: likewise.
        fits: whether arguments and temporaries are less than the memory, likewise. Where the
            compiler found no room, there is no cost, and the operations are of what it was given.
        lacks: what the compiler said then.
    """

    devices: int
    images: int
    flops: float
    cost: Cost | None
    floors: Floors | None
    fits: bool | None
    lacks: str = ""

    def per_image(self) -> dict[str, float]:
        """Operations, and where it was compiled bytes, for one image; of a ranking, one query."""
        found = {"flops": self.flops / self.images}
        if self.cost is not None:
            found["bytes"] = self.cost.bytes / self.images
            found["memory_bytes"] = self.cost.memory_bytes / self.images
        return found


def floors_of(cost: Cost, chip: Chip) -> Floors:
    """What takes so long at least.

    A ring sums n bytes over chips by sending each of its parts twice: Patarasuk and Yuan, 2009,
    https://doi.org/10.1016/j.jpdc.2008.09.002.
    """
    sent = sum(
        size * (2 if kind == "all-reduce" else 1) for kind, (_, size) in cost.collectives.items()
    )
    one_way = chip.between / 2
    return Floors(cost.flops / chip.flops, cost.memory_bytes / chip.bandwidth, sent / one_way)


def count_for(
    target: str, programs: Sequence[str], network: Network, *, count: int | None = None
) -> Iterator[tuple[str, Counted]]:
    """Compiles programs for a target, one after the other, and reads what they cost.

    Args:
        target: a slice of TPUs, of `slice_of`; or "cuda" or "rocm", for which programs are lowered
            and their arithmetic is counted, and no more.
        programs: keys of PROGRAMS.
        network: its target is set by this.
        count: how many of the chips of a slice; by default all.

    Yields:
        The name of a program, and what was counted.

    Raises:
        InputError: as `slice_of` and `compiled_for` do, or `count` for a target that has no chips.
    """
    chips = None if target in _LOWERED else slice_of(target, count=count)
    if chips is None and count is not None:
        raise InputError(f"devices: {target} is lowered for one device")
    for name in programs:
        if chips is None:
            yield name, _lowered(name, network._replace(target="gpu"), target)
        else:
            yield name, _compiled(name, network._replace(target="tpu"), chips)


def _lowered(name: str, network: Network, platform: str) -> Counted:
    program = PROGRAMS[name](network, 1)
    lowered = lowered_for(platform, program)
    said, text = lowered.cost_analysis() or {}, lowered.as_text("hlo")
    flops = flops_of(said, runs(text)) / program.steps
    return Counted(1, program.images, flops, None, None, None)


def _compiled(name: str, network: Network, chips: Slice) -> Counted:
    devices = len(chips.devices)
    program = PROGRAMS[name](network, devices)
    try:
        compiled = compiled_for(chips, program)
    except jax.errors.JaxRuntimeError as error:
        kind, _, lacks = str(error).splitlines()[0].partition(": ")
        if kind != "RESOURCE_EXHAUSTED":
            raise
        given = _lowered(name, network, "tpu")
        return given._replace(devices=devices, fits=False, lacks=lacks)
    cost = cost_of(compiled, steps=program.steps)
    fits = cost.arguments + cost.temporaries < chips.chip.memory
    floors = floors_of(cost, chips.chip)
    return Counted(devices, program.images, cost.flops, cost, floors, fits)
