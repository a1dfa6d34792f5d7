"""Chips that are not here: their published peaks, and devices to compile for."""

import importlib.util
import os
from typing import NamedTuple

import jax
from jax.experimental import topologies

from jaxreid.errors import InputError

__all__ = ["CHIPS", "Chip", "Slice", "slice_of"]


class Chip(NamedTuple):
    """What its maker says of a chip.

    Attributes:
        flops: of bfloat16, per second.
        bandwidth: of its memory, bytes per second.
        memory: bytes.
        between: bytes per second from and to other chips, both directions and all links together.
        largest: chips along each side of its largest slice.
        source: where these stand.
    """

    flops: float
    bandwidth: float
    memory: float
    between: float
    largest: tuple[int, ...]
    source: str


_DOCS = "https://docs.cloud.google.com/tpu/docs"

CHIPS = {
    "v5e": Chip(197e12, 819e9, 16e9, 400e9, (16, 16), f"{_DOCS}/v5e"),
    "v5p": Chip(459e12, 2765e9, 95e9, 1200e9, (16, 20, 28), f"{_DOCS}/v5p"),
    "v6e": Chip(918e12, 1638e9, 32e9, 800e9, (16, 16), f"{_DOCS}/v6e"),
}
"""Name, as topologies begin with it -> Chip."""


# Otherwise libtpu asks the network which TPU this machine is, and says at length that it is none.
_NO_TPU_HERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    # A TPU is one process's; compilers may be several.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Slice(NamedTuple):
    """Chips that are connected.

    Attributes:
        name: as it was asked for.
        chip: of each.
        devices: to compile for; nothing can be computed on them.
    """

    name: str
    chip: Chip
    devices: tuple[jax.Device, ...]


def slice_of(name: str, *, count: int | None = None) -> Slice:
    """Devices of a slice of TPUs that this machine does not have.

    Args:
        name: "tpu:" and a topology, such as v5e:2x2, v5p:2x2x1 or v6e:16x16; the smallest is that
            of one host.
        count: how many of its chips, the first ones; by default all.

    Returns:
        The Slice.

    Raises:
        InputError: another platform, an unknown chip or topology, more chips than it has, or no
            libtpu, which compiles for them.
    """
    platform, _, topology = name.partition(":")
    kind, _, layout = topology.partition(":")
    chip = CHIPS.get(kind)
    if platform != "tpu" or chip is None:
        known = ", ".join(f"tpu:{each}" for each in CHIPS)
        raise InputError(
            f"target: expected cuda, rocm, or one of {known} with a topology such as tpu:v5e:2x2, "
            f"got {name!r}"
        )
    _check_sides(name, kind, layout)
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            f"target {name!r} is compiled for by libtpu: pip install 'jaxreid[tpu]', in an "
            "environment of its own"
        )
    for variable, value in _NO_TPU_HERE.items():
        os.environ.setdefault(variable, value)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(
            f"target {name!r}: {str(error).splitlines()[0].rstrip('.')}; the smallest slice is "
            "that of a host, such as 2x2, of which --devices takes the first chips"
        ) from None
    if count is not None and count > len(found):
        raise InputError(f"devices: {name} has {len(found)} chips, not {count}")
    return Slice(name, chip, tuple(found[:count]))


def _check_sides(name: str, kind: str, layout: str) -> None:
    """Refuses what libtpu ends the process on."""
    sides, largest = layout.split("x"), CHIPS[kind].largest
    if len(sides) == len(largest) and all(
        side.isdecimal() and 1 <= int(side) <= most
        for side, most in zip(sides, largest, strict=True)
    ):
        return
    raise InputError(
        f"target: expected tpu:{kind}: and {len(largest)} sides with x between them, of at most "
        f"{'x'.join(map(str, largest))} chips, such as tpu:{kind}:"
        f"{'x'.join('221'[: len(largest)])}, got {name!r}"
    )
